//! What a component makes its compiler do, counted before any of it is compiled.
//!
//! A compiler's time and memory do not follow from a file's length: 9,000 branches in one function, which are 180 KB, take minutes; ten
//! bytes declare 50,000 locals; a call of two bytes may have 1,000 results; a component is inlined wherever an instance of it is
//! made. Each of these has a limit here, far above what plugins have and far below what hurts (`cargo run -p reelflow-wasm --example compile_cost`).
//! Counting reads every byte once and keeps nothing.
//!
//! With ten other things to do for two cores, a shipped plugin compiled in 0.1 to 0.3 s, and the worst function that is let through (1,900
//! branches, 1,000 locals) in 10 s and 80 MiB; 20,000 functions took 2.6 s, 2 MiB of code 8 s.

use reelflow_ports::engine::LoadError;
use wasmparser::{BinaryReaderError, CompositeInnerType, FunctionBody, Operator, Parser, Payload, TypeRef};

/// Core modules in a component: `wit-component` makes one to three.
const MODULES_MAX: u64 = 16;
/// Components in a component, at any depth: one for each interface.
const COMPONENTS_MAX: u64 = 16;
/// Instances of components that are made or put together. An instance of five whose component makes five of another is 25.
const COMPONENT_INSTANCES_MAX: u64 = 16;
const CORE_INSTANCES_MAX: u64 = 64;
/// Functions that are lifted or lowered: each is a piece of code that the host's compiler writes for the types at hand.
const CANONICAL_FUNCTIONS_MAX: u64 = 64;
/// Types of components are a few hundred bytes. They may refer to each other, so a few can stand for many.
const COMPONENT_TYPE_BYTES_MAX: u64 = 64 << 10;
const CORE_TYPES_MAX: u64 = 10_000;
const FUNCTIONS_MAX: u64 = 20_000;
/// Bytes of all functions. A plugin of 100 KB has some 60 KB of them.
const ALL_BODY_BYTES_MAX: u64 = 2 << 20;
const BODY_BYTES_MAX: u64 = 128 << 10;
/// Locals of the function that has most.
const LOCALS_MAX: u64 = 2_000;
/// Branches of the function that has most: twice as many take six times as long.
const BRANCHES_MAX: u64 = 2_000;
/// The squares of all functions' branches, added up, so that many large functions are as bounded as one.
const ALL_BRANCHES_SQUARED_MAX: u64 = 10_000_000;
/// Branches times the locals and results that may be alive across them, of all functions: where paths meet, each of them is a choice.
const ALL_JOINS_MAX: u64 = 2_000_000;
/// Results of all calls: a value each, and a call of 1,000 is two bytes. A Rust function has at most one.
const CALL_RESULTS_MAX: u64 = 500_000;

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// As messages call it, in the plural.
    pub what: &'static str,
    pub found: u64,
    pub limit: u64,
}

/// Counts everything that has a limit, in the order of the table in wit/plugin/README.md. Errors: bytes that are no WebAssembly.
pub fn measures(component: &[u8]) -> Result<Vec<Measure>, LoadError> {
    let mut shape = Shape::default();
    for payload in Parser::new(0).parse_all(component) {
        payload.and_then(|payload| shape.count(payload)).map_err(|why| LoadError::NotAComponent(why.to_string()))?;
    }
    Ok(shape.measures())
}

/// Refuses a component that would cost too much to compile.
pub(crate) fn check(component: &[u8]) -> Result<(), LoadError> {
    match measures(component)?.into_iter().find(|measure| measure.found > measure.limit) {
        Some(Measure { what, found, limit }) => Err(LoadError::TooCostly { what, found, limit }),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Shape {
    n_modules: u64,
    n_components: u64,
    n_component_instances: u64,
    n_core_instances: u64,
    n_canonical_functions: u64,
    n_component_type_bytes: u64,
    n_core_types: u64,
    n_functions: u64,
    n_body_bytes: u64,
    largest_body: u64,
    most_locals: u64,
    most_branches: u64,
    all_branches_squared: u64,
    all_joins: u64,
    n_call_results: u64,
    module: Module,
}

/// What of a core module its functions are judged by.
#[derive(Default)]
struct Module {
    /// The results of each type; of one that is no function, none.
    n_results: Vec<u64>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    /// The most parameters and results that any function type has: a block may carry as many.
    widest_type: u64,
}

impl Module {
    /// The results of a call of that type. A type that is not there is refused by the compiler.
    fn n_results(&self, type_idx: u32) -> u64 {
        self.n_results.get(type_idx as usize).copied().unwrap_or(0)
    }
}

impl Shape {
    fn measures(&self) -> Vec<Measure> {
        let measures = [
            ("core modules", self.n_modules, MODULES_MAX),
            ("nested components", self.n_components, COMPONENTS_MAX),
            ("component instances", self.n_component_instances, COMPONENT_INSTANCES_MAX),
            ("core instances", self.n_core_instances, CORE_INSTANCES_MAX),
            ("lifted or lowered functions", self.n_canonical_functions, CANONICAL_FUNCTIONS_MAX),
            ("bytes of component types", self.n_component_type_bytes, COMPONENT_TYPE_BYTES_MAX),
            ("core types", self.n_core_types, CORE_TYPES_MAX),
            ("functions", self.n_functions, FUNCTIONS_MAX),
            ("bytes in all functions", self.n_body_bytes, ALL_BODY_BYTES_MAX),
            ("bytes in one function", self.largest_body, BODY_BYTES_MAX),
            ("locals in one function", self.most_locals, LOCALS_MAX),
            ("branches in one function", self.most_branches, BRANCHES_MAX),
            ("squared branches in all functions", self.all_branches_squared, ALL_BRANCHES_SQUARED_MAX),
            ("branches times locals in all functions", self.all_joins, ALL_JOINS_MAX),
            ("results of calls", self.n_call_results, CALL_RESULTS_MAX),
        ];
        measures.map(|(what, found, limit)| Measure { what, found, limit }).to_vec()
    }

    fn count(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ModuleSection { .. } => {
                self.n_modules += 1;
                self.module = Module::default();
            }
            Payload::ComponentSection { .. } => self.n_components += 1,
            Payload::ComponentInstanceSection(section) => self.n_component_instances += u64::from(section.count()),
            Payload::InstanceSection(section) => self.n_core_instances += u64::from(section.count()),
            Payload::ComponentCanonicalSection(section) => self.n_canonical_functions += u64::from(section.count()),
            Payload::ComponentTypeSection(section) => self.n_component_type_bytes += section.range().len() as u64,
            Payload::CoreTypeSection(section) => self.n_component_type_bytes += section.range().len() as u64,
            Payload::TypeSection(section) => {
                for group in section {
                    group?.types().for_each(|sub_type| self.count_type(&sub_type.composite_type.inner));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(type_idx) = import?.ty {
                        self.module.functions.push(type_idx);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for type_idx in section {
                    self.module.functions.push(type_idx?);
                }
            }
            Payload::CodeSectionEntry(body) => self.count_function(&body)?,
            _ => {}
        }
        Ok(())
    }

    fn count_type(&mut self, of: &CompositeInnerType) {
        self.n_core_types += 1;
        let (n_params, n_results) = match of {
            CompositeInnerType::Func(function) => (function.params().len(), function.results().len()),
            _ => (0, 0),
        };
        self.module.n_results.push(n_results as u64);
        self.module.widest_type = self.module.widest_type.max((n_params + n_results) as u64);
    }

    fn count_function(&mut self, body: &FunctionBody<'_>) -> Result<(), BinaryReaderError> {
        let mut n_locals = 0;
        for declared in body.get_locals_reader()? {
            n_locals += u64::from(declared?.0);
        }
        // The entry is a branch too: parameters are alive there.
        let mut n_branches = 1;
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::Else => n_branches += 1,
                Operator::Br { .. } | Operator::BrIf { .. } | Operator::Return => n_branches += 1,
                Operator::BrTable { targets } => n_branches += u64::from(targets.len()) + 1,
                Operator::Call { function_index } => {
                    let type_idx = self.module.functions.get(function_index as usize);
                    self.n_call_results += type_idx.map_or(0, |type_idx| self.module.n_results(*type_idx));
                }
                Operator::CallIndirect { type_index, .. } => self.n_call_results += self.module.n_results(type_index),
                _ => {}
            }
        }
        let n_bytes = body.range().len() as u64;
        self.n_functions += 1;
        self.n_body_bytes += n_bytes;
        self.largest_body = self.largest_body.max(n_bytes);
        self.most_locals = self.most_locals.max(n_locals);
        self.most_branches = self.most_branches.max(n_branches);
        // Of numbers below 2^32: no function has more bytes than that, nor more locals.
        self.all_branches_squared = self.all_branches_squared.saturating_add(n_branches.saturating_mul(n_branches));
        let joins = n_branches.saturating_mul(n_locals + self.module.widest_type);
        self.all_joins = self.all_joins.saturating_add(joins);
        Ok(())
    }
}
