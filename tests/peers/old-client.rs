//! A client of the frame version before the oldest that the broker serves: what an upgrade finds
//! running. Built for the tests alone.
fn main() -> std::process::ExitCode {
    pfxhttp::client::speaking(pfxhttp::wire::ipc::OLDEST - 1)
}
