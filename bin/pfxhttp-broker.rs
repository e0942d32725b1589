//! The daemon; everything is in the library, from `pfxhttp::command` on.
fn main() -> std::process::ExitCode {
    pfxhttp::command::main()
}
