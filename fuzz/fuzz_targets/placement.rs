#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kro_hub::fuzzing::placement(bytes));
