//! The daemon; everything is in the library, from `pfxhttp::command` on.

/// Every answer of an API comes in buffers of its own; benches/README.md says what this gives.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    pfxhttp::command::main()
}
