fn main() -> std::process::ExitCode {
    kro_hub::cli::run()
}
