//! The binary: the command line is in the library.

fn main() -> std::process::ExitCode {
    qcat::cli::main()
}
