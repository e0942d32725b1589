//! A manual as a page of the book: mandoc's Markdown with headings for keys, lists without quotes, and blocks of
//! code.

/// The page that `manual` becomes, the output of `mandoc -T markdown`.
pub(crate) fn of_manual(manual: &str) -> String {
    let (title, manual) = manual.split_once("\n\n").expect("a title");
    let title = title.split('(').next().expect("a name").to_lowercase();
    let mut page = format!(
        "# {title}\n\n<!-- Made of man/{title}.5 by `make reference`: change the manual, not this page. -->\n\n"
    );
    let blocks: Vec<&str> = manual.trim_end().split("\n\n").filter(|block| !block.is_empty()).collect();
    // The last block is the system and the date.
    let (_, blocks) = blocks.split_last().expect("blocks");
    let mut section = "";
    let mut code = String::new();
    for (at, block) in blocks.iter().enumerate() {
        if let Some(name) = block.strip_prefix("# ") {
            section = name;
            if !["NAME", "DESCRIPTION", "SEE ALSO"].contains(&section) {
                page.push_str(&format!("## {}{}\n\n", &name[..1], name[1..].to_lowercase()));
            }
            continue;
        }
        if ["NAME", "SEE ALSO"].contains(&section) {
            continue;
        }
        let next = blocks.get(at + 1).copied().unwrap_or_default();
        if let Some(name) = block.strip_prefix("## ") {
            // What follows the first of these holds no commands.
            section = if section == "DESCRIPTION" { "" } else { section };
            page.push_str(&format!("### {name}\n\n"));
        } else if section == "DESCRIPTION" && block.starts_with('\t')
            || section == "EXAMPLES" && is_quoted(block)
        {
            code.push_str(&inner(block));
            if !is_quoted(next) {
                let kind = if section == "EXAMPLES" { "yaml" } else { "text" };
                page.push_str(&format!("```{kind}\n{}\n```\n\n", code.trim_end()));
                code.clear();
            }
        } else if is_quoted(next) && !["DESCRIPTION", "EXAMPLES"].contains(&section) {
            page.push_str(&term(block, section == "KEYS"));
        } else if is_quoted(block) {
            let indent = if section == "KEYS" { "" } else { "  " };
            let lines: Vec<_> = inner(block).lines().map(|line| format!("{indent}{line}\n")).collect();
            page.push_str(&format!("{}\n", lines.concat()));
        } else {
            page.push_str(&format!("{block}\n\n"));
        }
    }
    mended(&page)
}

/// Whether mandoc has moved it in.
fn is_quoted(block: &str) -> bool {
    block.starts_with('\t') || block.starts_with('>')
}

fn inner(block: &str) -> String {
    let lines = block.lines().map(|line| {
        let line = line.strip_prefix('\t').or(line.strip_prefix("> ")).or(line.strip_prefix('>'));
        format!("{}\n", line.unwrap_or_default())
    });
    lines.collect()
}

/// What a text is about: a heading for a key, an item of a list for anything else.
fn term(block: &str, is_key: bool) -> String {
    let key = block.strip_prefix("**").and_then(|rest| rest.split_once("**")).filter(|_| is_key);
    match key {
        Some((name, kind)) => {
            let kind = kind.trim_start_matches(':').trim();
            format!("#### {name}\n\n{kind}\n\n")
        }
        None => format!("* {block}:\n"),
    }
}

/// Corrects what mandoc does to literals with a bar and to letters beyond ASCII. Options become literals: two hyphens
/// would become a dash.
fn mended(page: &str) -> String {
    let page = page.replace("` | `", " | ").replace("b\"\u{8}ucher", "b\u{fc}cher").replace("\\_", "_");
    let mut parts = page.split("**--");
    let mut mended = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (option, rest) = part.split_once("**").unwrap_or((part, ""));
        mended.push_str(&format!("`--{option}`{rest}"));
    }
    assert!(!mended.contains('\u{8}'), "a letter is printed over another");
    format!("{}\n", mended.trim_end())
}
