//! What a configuration that cannot be loaded still tells: where the administrator's socket is. The
//! broker that runs has read another one, and is there.

use std::path::{Path, PathBuf};

use super::block::child;
use super::environment;
use super::listener;
use super::path::KeyPath;
use super::problem::Report;
use super::source;
use super::syntax::Syntax;

/// How often a broken text is cut, each time at its first fault.
const CUTS: usize = 16;

/// The path of the admin socket by what can be read of the file at `path`; else the usual one.
#[must_use]
pub fn admin_socket(path: &Path, syntax: Option<Syntax>, environment: &[(String, String)]) -> PathBuf {
    let text = source::read(path).map(|(text, _)| source::normal(&text)).unwrap_or_default();
    by_text(path, text, syntax.unwrap_or(Syntax::of(path)), environment)
}

fn by_text(file: &Path, mut text: String, syntax: Syntax, environment: &[(String, String)]) -> PathBuf {
    for _ in 0..CUTS {
        let (mut tree, places, faults) = syntax.read(&text);
        let Some(first) = faults.iter().map(|fault| fault.place.line).min() else {
            let mut report = Report::new(file, &text, places);
            environment::apply(&mut report, &mut tree, environment);
            let server = child(Some(&tree), "server");
            let at = KeyPath::default().key("server");
            let mut ipc = listener::ipc(&mut report, child(server, "ipc"), &at.key("ipc"));
            if ipc.socket.path.as_os_str().is_empty() {
                ipc.socket.path = listener::DEFAULT_IPC.into();
            }
            return listener::admin(&mut report, child(server, "admin"), &at.key("admin"), &ipc, None).path;
        };
        // What ends too early is found behind its end.
        let good = first.saturating_sub(1).min(text.lines().count().saturating_sub(1));
        text = text.lines().take(good).map(|line| format!("{line}\n")).collect();
    }
    Path::new(listener::DEFAULT_IPC).with_file_name("admin.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_the_good_part_says() {
        const USUAL: &str = "/run/pfxhttp/admin.sock";
        let ipc = "server:\n  ipc: {path: /run/other/broker.sock}\n";
        for (text, expected) in [
            ("", USUAL),
            ("nonsense: [", USUAL),
            ("server: {ipc: {path: nowhere}}", USUAL),
            ("server:\n  admin: {path: /run/a.sock}\n  unknown: 1\n", "/run/a.sock"),
            (&format!("{ipc}socket_maps:\n  m: [\n"), "/run/other/admin.sock"),
            (&format!("{ipc}socket_maps:\n  m: a: b\n   c: d\n"), "/run/other/admin.sock"),
            (&format!("{ipc}\tx\n"), "/run/other/admin.sock"),
        ] {
            let found = by_text(Path::new("x.yml"), text.to_owned(), Syntax::Yaml, &[]);
            assert_eq!(found, Path::new(expected), "{text}");
        }
        let variable = ("PFXHTTP_SERVER_ADMIN_PATH".to_owned(), "/run/v.sock".to_owned());
        let found = by_text(Path::new("x.yml"), ipc.to_owned(), Syntax::Yaml, &[variable]);
        assert_eq!(found, Path::new("/run/v.sock"));
    }
}
