//! `reelflow::export!`.

/// Makes a component of a plugin: `reelflow::export!(Trending as Aggregate);`, once per crate.
///
/// The kind must be said: a component exports the functions of its kind and no others. Natively the macro only checks the type, so
/// that `cargo test` works on the same crate.
#[macro_export]
macro_rules! export {
    ($plugin:ty as Transform) => {
        const _: fn() = $crate::__private::is_transform::<$plugin>;
        #[cfg(target_family = "wasm")]
        const _: () = {
            $crate::__export_slot!($plugin);
            impl $crate::__private::wasm::describe::exports::reelflow::plugin::describe::Guest for Exported {
                fn describe(config: String) -> Result<String, String> {
                    PLUGIN.describe(&config, $crate::__private::describe::transform::<$plugin>)
                }
            }
            impl $crate::__private::wasm::transform::exports::reelflow::plugin::transform::Guest for Exported {
                fn apply(input: $crate::__private::wasm::wire::Rows) -> $crate::__private::wasm::wire::Emitted {
                    PLUGIN.with(|plugin| $crate::__private::driver::apply(plugin, &input.into()).into())
                }
            }
    $crate::__private::wasm::transform::export!(Exported with_types_in $crate::__private::wasm::transform);
        };
    };
    ($plugin:ty as Aggregate) => {
        const _: fn() = $crate::__private::is_aggregate::<$plugin>;
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::__private::{driver, wasm::wire};
            $crate::__export_slot!($plugin);
            $crate::__export_migrate!(<$plugin as $crate::Aggregate>::State, aggregate);
            impl $crate::__private::wasm::describe::exports::reelflow::plugin::describe::Guest for Exported {
                fn describe(config: String) -> Result<String, String> {
                    PLUGIN.describe(&config, $crate::__private::describe::aggregate::<$plugin>)
                }
            }
            impl $crate::__private::wasm::aggregate::exports::reelflow::plugin::aggregate::Guest for Exported {
                fn add(input: wire::Rows, ends: Vec<u32>, states: wire::Packed) -> wire::Added {
                    PLUGIN.with(|plugin| driver::add(plugin, &input.into(), &ends, &states.into()).into())
                }
                fn merge(parts: wire::Packed, ends: Vec<u32>) -> wire::Added {
                    PLUGIN.with(|plugin| driver::merge(plugin, &parts.into(), &ends).into())
                }
                fn emit(windows: Vec<wire::Window>, keys: wire::Rows, states: wire::Packed) -> wire::Emitted {
                    let windows: Vec<$crate::Window> = windows.into_iter().map(Into::into).collect();
                    PLUGIN.with(|plugin| driver::emit(plugin, &windows, &keys.into(), &states.into()).into())
                }
            }
    $crate::__private::wasm::aggregate::export!(Exported with_types_in $crate::__private::wasm::aggregate);
        };
    };
    ($plugin:ty as Join) => {
        const _: fn() = $crate::__private::is_join::<$plugin>;
        $crate::__export_join!($plugin, join, pair);
    };
    ($plugin:ty as FullJoin) => {
        const _: fn() = $crate::__private::is_full_join::<$plugin>;
        $crate::__export_join!($plugin, full_join, pair_full);
    };
    ($plugin:ty as Process) => {
        const _: fn() = $crate::__private::is_process::<$plugin>;
        #[cfg(target_family = "wasm")]
        const _: () = {
            use wasm::process::exports::reelflow::plugin::process;
            use $crate::__private::{
                driver,
                wasm::{self, wire},
            };
            $crate::__export_slot!($plugin);
            $crate::__export_migrate!(<$plugin as $crate::Process>::State, process);
            impl wasm::describe::exports::reelflow::plugin::describe::Guest for Exported {
                fn describe(config: String) -> Result<String, String> {
                    PLUGIN.describe(&config, $crate::__private::describe::process::<$plugin>)
                }
            }
            impl process::Guest for Exported {
                fn take(
                    input: wire::Rows,
                    times: Vec<i64>,
                    ends: Vec<u32>,
                    keys: wire::Rows,
                    states: wire::Packed,
                    time: process::Time,
                ) -> process::Processed {
                    let (input, keys, states) = (input.into(), keys.into(), states.into());
                    PLUGIN.with(|plugin| driver::process::take(plugin, &input, &times, &ends, &keys, &states, time.into()).into())
                }
                fn fire(
                    timers: Vec<process::Timer>,
                    keys: wire::Rows,
                    states: wire::Packed,
                    time: process::Time,
                ) -> process::Processed {
                    let timers: Vec<$crate::Timer> = timers.into_iter().map(Into::into).collect();
                    PLUGIN.with(|plugin| driver::process::fire(plugin, &timers, &keys.into(), &states.into(), time.into()).into())
                }
            }
    $crate::__private::wasm::process::export!(Exported with_types_in $crate::__private::wasm::process);
        };
    };
    ($($other:tt)*) => {
        compile_error!(
            "say what the plugin is: `reelflow::export!(Type as Transform);`, `… as Aggregate`, `… as Join`, `… as FullJoin` or \
             `… as Process`"
        );
    };
}

/// The functions of a join: `describe` with its document `$document`, and `pair` by the driver's `$pair`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_join {
    ($plugin:ty, $document:ident, $pair:ident) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::__private::{driver, wasm::wire};
            $crate::__export_slot!($plugin);
            impl $crate::__private::wasm::describe::exports::reelflow::plugin::describe::Guest for Exported {
                fn describe(config: String) -> Result<String, String> {
                    PLUGIN.describe(&config, $crate::__private::describe::$document::<$plugin>)
                }
            }
            impl $crate::__private::wasm::join::exports::reelflow::plugin::join::Guest for Exported {
                fn pair(left: wire::Rows, right: wire::Rows, matched: Vec<u8>) -> wire::Emitted {
                    PLUGIN.with(|plugin| driver::$pair(plugin, &left.into(), &right.into(), &matched).into())
                }
            }
    $crate::__private::wasm::join::export!(Exported with_types_in $crate::__private::wasm::join);
        };
    };
}

/// The function that brings all states of a plugin to its version, by the driver's `$migrate`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_migrate {
    ($state:ty, $migrate:ident) => {
        impl $crate::__private::wasm::migrate::exports::reelflow::plugin::migrate::Guest for Exported {
            fn migrate(
                states: $crate::__private::wasm::wire::Packed,
            ) -> $crate::__private::wasm::migrate::exports::reelflow::plugin::migrate::Migrated {
                $crate::__private::driver::migrate::$migrate::<$state>(&states.into()).into()
            }
        }
        $crate::__private::wasm::migrate::export!(Exported with_types_in $crate::__private::wasm::migrate);
    };
}

/// The type that the exported functions hang on, with `describe`, and the static that keeps the plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_slot {
    ($plugin:ty) => {
        struct Exported;
        $crate::__private::wasm::describe::export!(Exported with_types_in $crate::__private::wasm::describe);
        static PLUGIN: $crate::__private::wasm::Slot<$plugin> = $crate::__private::wasm::Slot::empty();
    };
}
