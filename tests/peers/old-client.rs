//! A client of the frame version before the oldest one that the broker serves, as an upgrade finds it
//! running. Only the tests use it.
fn main() -> std::process::ExitCode {
    pfxhttp::client::speaking(pfxhttp::wire::ipc::OLDEST - 1)
}
