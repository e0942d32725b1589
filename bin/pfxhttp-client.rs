//! The program that Postfix's spawn(8) starts; everything is in `pfxhttp::client`.
fn main() -> std::process::ExitCode {
    pfxhttp::client::main()
}
