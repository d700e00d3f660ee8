//! The key store's server and its commands; all of it is in the library.

fn main() -> std::process::ExitCode {
    rekey_store::cli::main()
}
