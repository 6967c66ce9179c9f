/// Half of the work of a controller is JSON: many small allocations, freed by other threads than those that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    kro_hub::cli::run()
}
