//! The same program, which can be told to kill itself at a named step of a
//! rotation; see [`rekey_store::crash`].

fn main() -> std::process::ExitCode {
    rekey_store::cli::main()
}
