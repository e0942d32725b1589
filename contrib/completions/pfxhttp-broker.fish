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
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_needs_command" -f -a "demo" -d 'Show the main job on a sample API inside of this program; needs no configuration and no root'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -l strict -d 'Take warnings for errors'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand demo" -l config -d 'The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp, /etc/pfxhttp, ~/.pfxhttp or the current directory]' -r -F
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand demo" -l format -d 'The syntax of FILE [default: by its extension, else yaml]' -r -f -a "yaml\t'YAML'
toml\t'TOML'
json\t'JSON'"
complete -c pfxhttp-broker -n "__fish_pfxhttp_broker_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
