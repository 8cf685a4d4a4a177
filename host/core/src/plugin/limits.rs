//! What a plugin may use.

/// What a plugin may use in one call, and what compiling it may take. None of them can be unlimited (I-8, I-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, in bytes.
    pub memory_bytes_max: u64,
    /// Wall time of one call, in ms.
    pub call_ms_max: u64,
    /// Bytes of one answer.
    pub output_bytes_max: u64,
    /// Size of the component, in bytes.
    pub component_bytes_max: u64,
    /// Wall time of compiling it, in ms. Where it is compiled in a process of its own.
    pub compile_ms_max: u64,
    /// Memory of that process, in bytes.
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
