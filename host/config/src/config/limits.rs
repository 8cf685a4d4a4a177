//! The limits of a plugin.

/// What a plugin may use in one call, and what compiling it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes_max: u64,
    pub call_ms_max: u64,
    pub output_bytes_max: u64,
    pub component_bytes_max: u64,
    pub compile_ms_max: u64,
    pub compile_memory_bytes_max: u64,
}

impl Limits {
    /// 64 MiB of memory, 100 ms a call, 32 MiB of output, 16 MiB of component; 60 s and 1 GiB to compile it.
    pub const STANDARD: Limits = Limits {
        memory_bytes_max: 64 << 20,
        call_ms_max: 100,
        output_bytes_max: 32 << 20,
        component_bytes_max: 16 << 20,
        compile_ms_max: 60_000,
        compile_memory_bytes_max: 1 << 30,
    };
}
