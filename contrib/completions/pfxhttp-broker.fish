# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_pfxhttp_broker_global_optspecs
    string join \n config= format= h/help V/version
end

function __fish_pfxhttp_broker_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_pfxhttp_broker_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_pfxhttp_broker_using_subcommand
    set -l cmd (__fish_pfxhttp_broker_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -s V -l version -d 'Print version'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "check" -d 'Read and check the configuration as a start would: exit 0, or 78 with every error\'s place'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "config" -d 'The configuration in effect'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "postfix" -d 'Print the lines of main.cf and master.cf that this configuration needs'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "query" -d 'Ask as Postfix would: prints the bytes that it would get, or "(connection closed)"'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "status" -d 'Show the state of the running broker'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "reload" -d 'Make the running broker read its configuration again: exit 75 if it rejects it'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "cache" -d 'The running broker\'s cache'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "penalty" -d 'The running broker\'s delays of denied logins (sasl_penalty)'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "demo" -d 'Show the main job on a sample API inside of this program; needs no configuration and no root'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -l strict -d 'Treat warnings as errors'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -l online -d 'If nothing is wrong, also reach every target and provider: exit 69 if one cannot be used'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand config; and not __fish_seen_subcommand_from dump" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand config; and not __fish_seen_subcommand_from dump" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand config; and not __fish_seen_subcommand_from dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand config; and not __fish_seen_subcommand_from dump" -f -a "dump" -d 'Print it as YAML, each value with its origin as a comment; secrets are shown as `…`'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand config; and __fish_seen_subcommand_from dump" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand config; and __fish_seen_subcommand_from dump" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand config; and __fish_seen_subcommand_from dump" -l changed -d 'Leave out what is set nowhere'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand config; and __fish_seen_subcommand_from dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand postfix" -l postfix-config -d 'Postfix\' configuration directory [default: that of postconf(1)]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand postfix" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand postfix" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand postfix" -l check -d 'Compare them with the installed Postfix: exit 78 if something does not work or is not safe'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand postfix" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and not __fish_seen_subcommand_from map policy sasl" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and not __fish_seen_subcommand_from map policy sasl" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and not __fish_seen_subcommand_from map policy sasl" -l trace -d 'Show the request, the API\'s answer and what decided, without secrets'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and not __fish_seen_subcommand_from map policy sasl" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and not __fish_seen_subcommand_from map policy sasl" -f -a "map" -d 'A key of a map'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and not __fish_seen_subcommand_from map policy sasl" -f -a "policy" -d 'A policy service'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and not __fish_seen_subcommand_from map policy sasl" -f -a "sasl" -d 'A login; its password or token is read from standard input, on a terminal without echo'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from map" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from map" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from map" -l trace -d 'Show the request, the API\'s answer and what decided, without secrets'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from map" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from policy" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from policy" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from policy" -l trace -d 'Show the request, the API\'s answer and what decided, without secrets'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from policy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from sasl" -l mechanism -d 'How the mail client logs in; oauthbearer and xoauth2 take a token' -r -f -a "plain\t''
login\t''
oauthbearer\t''
xoauth2\t''"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from sasl" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from sasl" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from sasl" -l trace -d 'Show the request, the API\'s answer and what decided, without secrets'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand query; and __fish_seen_subcommand_from sasl" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand status" -l watch -d 'Show it again each second, or each SECONDS, until Ctrl-C' -r
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand status" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand status" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand status" -l json -d 'As JSON'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand status" -l failures -d 'Show the last 20 failures instead'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand reload" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand reload" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and not __fish_seen_subcommand_from purge show" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and not __fish_seen_subcommand_from purge show" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and not __fish_seen_subcommand_from purge show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and not __fish_seen_subcommand_from purge show" -f -a "purge" -d 'Forget them: all, those of an entry, or that of a map\'s key'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and not __fish_seen_subcommand_from purge show" -f -a "show" -d 'Show an answer: exit 1 if there is none'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and __fish_seen_subcommand_from purge" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and __fish_seen_subcommand_from purge" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and __fish_seen_subcommand_from show" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and __fish_seen_subcommand_from show" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand cache; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and not __fish_seen_subcommand_from list clear" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and not __fish_seen_subcommand_from list clear" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and not __fish_seen_subcommand_from list clear" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and not __fish_seen_subcommand_from list clear" -f -a "list" -d 'List the addresses, their denials, and the seconds until these are forgotten'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and not __fish_seen_subcommand_from list clear" -f -a "clear" -d 'Forget the denials of all addresses, or of one'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and __fish_seen_subcommand_from list" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and __fish_seen_subcommand_from list" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and __fish_seen_subcommand_from clear" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and __fish_seen_subcommand_from clear" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand penalty; and __fish_seen_subcommand_from clear" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand demo" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand demo" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
