//! The commands of README.md and the book run, page by page, in the order of the page, as root on a machine of
//! their own (`support::machine`). Its programs, users, units and paths are those of the package.
//!
//! | fence | what happens |
//! |---|---|
//! | `sh` | each command must succeed |
//! | `console` | lines after the prompt of its first line, `$ ` or `# `, are commands; the others, and lines of `query --trace` as `# time: …`, are their output, in which `…` stands for any text |
//! | `main.cf`, `master.cf` | lines for these files; at the end of the page `postconf` and `postfix check` must be silent |
//! | `yaml install` | becomes /etc/pfxhttp/pfxhttp.yml; files that it names are made if they do not exist |
//!
//! A page that has none of them needs no machine. Blocks in [`NOT_RUN`] are not run.

use std::fmt::Write as _;

use crate::support::book::{Block, Page, pages};
use crate::support::machine::Machine;

/// Blocks that cannot run there: the page, a line of the block, and the reason.
const NOT_RUN: [(&str, &str, &str); 3] = [
    ("docs/src/start/install.md", ". \"$HOME/.cargo/env\"", "it loads a compiler from the network"),
    (
        "docs/src/start/install.md",
        "usermod --append --groups pfxhttp-client pfxhttp",
        "the machine has run these lines, see the_users_are_made_as_make_install_says",
    ),
    (
        "docs/src/start/install.md",
        "setpriv --reuid pfxhttp --regid pfxhttp --init-groups --reset-env /usr/sbin/pfxhttp-broker",
        "it runs in the foreground, with a limit that the tests may not have; standins/systemctl starts the broker by this line",
    ),
];

fn is_run(page: &Page, block: &Block) -> bool {
    !NOT_RUN.iter().any(|(name, line, _)| page.name == *name && block.text.lines().any(|own| own == *line))
}

/// A block of commands: each with the output that it must have.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let prompt = text.get(..2).unwrap_or_default();
    assert!(["$ ", "# "].contains(&prompt), "a console block begins with a command: {text}");
    let mut continues = false;
    for line in text.lines() {
        let begins = line.strip_prefix(prompt).filter(|command| !is_trace(command));
        match (begins, commands.last_mut()) {
            (_, Some((command, _))) if continues => write!(command, "\n{line}").expect("text takes text"),
            (Some(begin), _) => commands.push((begin.to_owned(), String::new())),
            (None, Some((_, output))) => writeln!(output, "{line}").expect("text takes text"),
            (None, None) => unreachable!("the first line is a command"),
        }
        continues = line.ends_with('\\');
    }
    commands
}

/// Whether this, behind `# `, is a line of `query --trace`: words and a colon.
fn is_trace(text: &str) -> bool {
    let is_word = |c: char| c.is_alphabetic() || c == ' ';
    text.split_once(": ").is_some_and(|(words, _)| words.chars().all(is_word))
}

/// Whether `text` is `due`, in which `…` stands for any text of a line.
fn is_output(text: &str, due: &str) -> bool {
    let is_line = |line: &str, due: &str| {
        let mut parts = due.split('…');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = line.strip_prefix(first) else { return false };
        let mut last = None;
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            // The last part is the end of the line.
            rest = if part.is_empty() { rest } else { &rest[at + part.len()..] };
            last = Some(part);
        }
        rest.is_empty() || last.is_some_and(|part| part.is_empty() || line.ends_with(part))
    };
    let (lines, due) = (text.trim_end().lines(), due.trim_end().lines());
    lines.clone().count() == due.clone().count() && lines.zip(due).all(|(line, due)| is_line(line, due))
}

/// What these commands begin takes a moment, less than somebody who reads on.
fn wait_after(commands: &str) -> &'static str {
    match commands {
        text if text.contains("8080 &") => "wait_for 8080\n",
        text if text.contains("postfix reload") => "wait_for_postfix\n",
        _ => "",
    }
}

/// The script of a page, and the output that its commands must have, by the file that holds it.
fn script(page: &Page, machine: &Machine) -> (String, Vec<(String, String, String)>) {
    let (mut script, mut outputs) = (String::new(), Vec::new());
    let blocks: Vec<_> = page.blocks().into_iter().filter(|block| is_run(page, block)).collect();
    let has_postfix = blocks.iter().any(|block| {
        let words = ["postfix", "postmap", "swaks", "smtp"];
        matches!(block.language(), "sh" | "console") && words.iter().any(|word| block.text.contains(word))
    });
    if has_postfix {
        script.push_str("at='Postfix starts'; postfix start 2>/dev/null\n");
    }
    for block in &blocks {
        let place = format!("{}:{}", page.name, block.line);
        let file = |function: &str| format!("{function} <<'END OF BLOCK'\n{}END OF BLOCK\n", block.text);
        let text = match block.language() {
            "sh" => format!("{}{}", block.text, wait_after(&block.text)),
            "main.cf" => file("main_cf"),
            "master.cf" => file("master_cf"),
            "yaml" if block.says("install") => {
                let names = secret_files(&block.text);
                let made = names.iter().map(|name| format!("[ -e {name} ] || echo user:password >{name}\n"));
                let owned = "chgrp -R pfxhttp /etc/pfxhttp; chmod 640 /etc/pfxhttp/*\n";
                format!("{}{}{owned}", file("cat >/etc/pfxhttp/pfxhttp.yml"), made.collect::<String>())
            }
            "console" => {
                let mut text = String::new();
                for (command, due) in commands(&block.text) {
                    let name = format!("output.{}", outputs.len());
                    let path = machine.path(&name);
                    // The status does not matter: the documentation shows failures, too.
                    let waits = wait_after(&command);
                    writeln!(text, "{{ {command}\n}} >{} 2>&1 || :\n{waits}", path.display())
                        .expect("text takes text");
                    outputs.push((name, format!("{place}: {command}"), due));
                }
                text
            }
            _ => continue,
        };
        write!(script, "at='{place}'\n{text}").expect("text takes text");
    }
    (script, outputs)
}

/// The files of secrets that a configuration names.
fn secret_files(text: &str) -> Vec<&str> {
    let values = text.lines().filter_map(|line| line.split_once("_file: ")).map(|(_, value)| value);
    values
        .filter_map(|value| value.split([' ', ',', '}']).next())
        .filter(|name| name.starts_with('/'))
        .collect()
}

/// What is wrong with the commands of a page.
fn flaws(page: &Page) -> Vec<String> {
    let machine = Machine::new();
    let (script, outputs) = script(page, &machine);
    if script.is_empty() {
        return Vec::new();
    }
    let ran = machine.run(&script);
    if !ran.is_complete {
        return vec![format!("{}: {}", page.name, ran.log)];
    }
    let wrong = |(name, command, due): (String, String, String)| {
        let output = ran.left(&name);
        (!is_output(&output, &due)).then(|| format!("{command}\n-- shown\n{due}-- is\n{output}"))
    };
    outputs.into_iter().filter_map(wrong).collect()
}

/// The pages of which this test runs every `of`th, from the `part`th on: tests run in parallel.
fn assert_runs(part: usize, of: usize) {
    let pages = pages();
    let wrong: Vec<_> = pages.iter().skip(part).step_by(of).flat_map(flaws).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_commands_of_one_half_run() {
    assert_runs(0, 2);
}

#[test]
fn the_commands_of_the_other_half_run() {
    assert_runs(1, 2);
}

#[test]
fn a_wrong_command_is_found() {
    let page = |text: &str| Page { name: "a page".to_owned(), text: text.to_owned() };
    let query = "pfxhttp-broker query map mailboxes bob@example.org";
    for (text, part) in [
        (format!("```sh\n{query}\n```\n```main.cf\nmyhostname = a.example.org\n```"), ""),
        (format!("```console\n# {query}\n…OK bob@…,\n```"), ""),
        (format!("```console\n# {query}\nPERM\n```"), "-- shown\nPERM"),
        ("```sh\nfalse\n```".to_owned(), "failed: a page:1"),
        ("```sh\napt install no-such-package\n```".to_owned(), "no-such-package"),
        ("```sh\nmake nothing\n```".to_owned(), "No rule to make target"),
        ("```sh\nsystemctl enable --now pfxhttp-nothing.socket\n```".to_owned(), "not found"),
        ("```main.cf\nmyhostnam = a.example.org\n```".to_owned(), "unused parameter: myhostnam"),
        ("```master.cf\npfx-map unix - n n - 0\n```".to_owned(), "master.cf"),
        (
            "```yaml install\nserver: 1\n```\n```sh\nsystemctl restart pfxhttp\n```".to_owned(),
            "expected keys and values",
        ),
    ] {
        let flaws = flaws(&page(&text));
        match part {
            "" => assert!(flaws.is_empty(), "{text}: {flaws:?}"),
            part => assert!(flaws.len() == 1 && flaws[0].contains(part), "{text}: {part:?} in {flaws:#?}"),
        }
    }
}

/// `tests/peers/machine` runs the lines of contrib/after-install.
#[test]
fn the_users_are_made_as_make_install_says() {
    let printed = Page::read("contrib/after-install").text;
    let (_, printed) = printed.split_once("Without systemd:").expect("its second part");
    let blocks = Page::read("docs/src/start/install.md").blocks();
    let of_users = |block: &&Block| block.text.starts_with("useradd");
    let block = blocks.iter().find(of_users).expect("the page makes the users");
    let of_directory = |block: &&Block| block.text.starts_with("install -d");
    let directory = blocks.iter().find(of_directory).expect("the page makes the directory");
    let lines = block.text.lines().chain(directory.text.lines().take(1));
    for line in lines {
        assert!(
            printed.lines().any(|own| own.trim_start().starts_with(line)),
            "after-install has not: {line}"
        );
    }
}

#[test]
fn each_reason_belongs_to_a_block() {
    let pages = pages();
    for (name, line, _) in NOT_RUN {
        let page =
            pages.iter().find(|page| page.name == name).unwrap_or_else(|| panic!("there is no {name}"));
        let found = page.blocks().iter().any(|block| block.text.lines().any(|own| own == line));
        assert!(found, "{name} has no block with the line {line:?}");
    }
}

#[test]
fn an_ellipsis_is_any_text() {
    assert!(is_output("a 12 b\nc\n", "a … b\nc\n") && is_output("a 12", "a …") && is_output("x", "…"));
    assert!(!is_output("a 12 c", "a … b") && !is_output("a\nb", "a") && !is_output("b 1", "a …"));
    assert!(is_output("a b b", "a … b") && !is_output("ab", "a"));
}
