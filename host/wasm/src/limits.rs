//! What an instance may hold (I-8): memory, tables, instances. Time and output are limited where calls are made.

use wasmtime::ResourceLimiter;

/// Table elements of one instance: functions that can be called by pointer. A large Rust plugin has a few thousand.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances in a component: `wit-component` makes a handful.
const INSTANCES_MAX: usize = 16;
const TABLES_MAX: usize = 16;
const MEMORIES_MAX: usize = 4;

/// Counts what one store holds and refuses what is beyond the limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements: usize,
    refused_memory: bool,
}

impl Limiter {
    pub(crate) fn new(memory_bytes_max: u64) -> Limiter {
        let memory_bytes_max = usize::try_from(memory_bytes_max).unwrap_or(usize::MAX);
        Limiter { memory_bytes_max, memory_bytes: 0, table_elements: 0, refused_memory: false }
    }

    /// The linear memory that the store holds. It never shrinks.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes as u64
    }

    /// Whether memory was refused since the last call of this function.
    pub(crate) fn take_refused_memory(&mut self) -> bool {
        std::mem::take(&mut self.refused_memory)
    }
}

impl ResourceLimiter for Limiter {
    /// Refused memory makes `memory.grow` answer -1, so a guest that can live with less goes on; most abort.
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The sum over all memories of the store, or a component could hold the limit several times.
        let total = self.memory_bytes.saturating_add(desired - current);
        let allowed = total <= self.memory_bytes_max;
        if allowed {
            self.memory_bytes = total;
        } else {
            self.refused_memory = true;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired - current);
        let allowed = total <= TABLE_ELEMENTS_MAX;
        if allowed {
            self.table_elements = total;
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use reelflow_ports::engine::Limits;

    use super::*;
    use crate::{describe, engine, plugin, shape, words};

    fn number(n: u64) -> String {
        let digits = n.to_string();
        let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    }

    fn bytes(n: u64) -> String {
        match n {
            n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
            n if n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
            n => format!("{} bytes", number(n)),
        }
    }

    #[test]
    fn the_table_of_limits_is_right() {
        let standard = Limits::STANDARD;
        let rows = [
            ("size of a component", bytes(standard.component_bytes_max)),
            ("time to compile it", format!("{} s", standard.compile_ms_max / 1_000)),
            ("memory to compile it", bytes(standard.compile_memory_bytes_max)),
            ("memory of an instance", bytes(standard.memory_bytes_max)),
            ("time of a call", format!("{} ms", standard.call_ms_max)),
            ("answer to a call", bytes(standard.output_bytes_max)),
            ("stack of a call", bytes(engine::STACK_BYTES_MAX as u64)),
            ("document of `describe`", bytes(plugin::DESCRIPTION_BYTES_MAX as u64)),
            ("a name or path in it", bytes(describe::NAME_BYTES_MAX as u64)),
            ("words of a plugin in one message", bytes(words::WORDS_BYTES_MAX as u64)),
            ("elements of all tables", number(TABLE_ELEMENTS_MAX as u64)),
            ("core instances that run", number(INSTANCES_MAX as u64)),
            ("tables", number(TABLES_MAX as u64)),
            ("memories", number(MEMORIES_MAX as u64)),
        ];
        let measures = shape::measures(b"\0asm\x0d\0\x01\0").unwrap().into_iter();
        let measures = measures.map(|measure| (measure.what, number(measure.limit)));
        let wanted: Vec<String> = rows.into_iter().chain(measures).map(|(what, limit)| format!("| {what} | {limit} |")).collect();
        let readme = include_str!("../../../wit/plugin/README.md");
        let table = readme.split("## Limits").nth(1).unwrap().split("\n## ").next().unwrap();
        let found: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
        let wrong: Vec<_> = found.iter().zip(&wanted).filter(|(found, wanted)| !found.starts_with(wanted.as_str())).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap(), "60 + 40 is the limit itself");
        assert!(!limiter.take_refused_memory());
        assert!(!limiter.memory_growing(40, 41, None).unwrap(), "limit + 1");
        assert!(limiter.take_refused_memory());
        assert!(!limiter.take_refused_memory(), "told once");
    }

    #[test]
    fn a_refusal_leaves_the_count_as_it_was() {
        let mut limiter = Limiter::new(100);
        assert!(!limiter.memory_growing(0, usize::MAX, None).unwrap());
        assert!(limiter.memory_growing(0, 100, None).unwrap());
    }

    #[test]
    fn tables_are_bounded_too() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.table_growing(0, TABLE_ELEMENTS_MAX, None).unwrap());
        assert!(!limiter.table_growing(TABLE_ELEMENTS_MAX, TABLE_ELEMENTS_MAX + 1, None).unwrap());
    }
}
