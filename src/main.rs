/// Half of the work of a controller is JSON: many small allocations, freed by other threads than those that made them. What is kept
/// is made among them, so an allocator matters that gives back what is free between. It is told how in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    kro_hub::cli::run()
}
