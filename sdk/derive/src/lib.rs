//! The derive macros of the Reelflow plugin SDK. Use them through the `reelflow` crate, which documents the traits they implement.
//!
//! They write what a careful author would write by hand, nothing hidden: each impl names its fields and calls one trait method per
//! field. What they must refuse, they refuse at the place of the mistake, with what to write instead.

use proc_macro::TokenStream;

mod config;
mod emit;
mod event;
mod function;
mod parse;
mod state;

/// A row that a plugin reads.
///
/// A struct with named fields and at most one lifetime. Field types: `bool`, integers (checked: a value out of range is refused),
/// `f64`, `&'a str`, `&'a [u8]`, and `Option` of them for fields that may be absent or null.
///
/// `#[field(name = "type")]` on a field names it otherwise than the Rust field; `#[field(path = "context.page")]` says where a source
/// finds it.
#[proc_macro_derive(Event, attributes(field))]
pub fn event(input: TokenStream) -> TokenStream {
    expand(input, event::derive)
}

/// A row that a plugin emits.
///
/// A struct with named fields: the types of `Event`, and `String` and `Vec<u8>`. `#[field(name = "type")]` renames a field.
#[proc_macro_derive(Emit, attributes(field))]
pub fn emit(input: TokenStream) -> TokenStream {
    expand(input, emit::derive_emit)
}

/// Several named outputs of a transform or a process: an enum, each variant around a struct with `#[derive(Emit)]`.
///
/// An output is called like its variant in snake case (`Trailers` is `trailers`), or as `#[output(name = "…")]` says. The one called
/// `out` is the stage's main stream.
#[proc_macro_derive(Outputs, attributes(output))]
pub fn outputs(input: TokenStream) -> TokenStream {
    expand(input, emit::derive_outputs)
}

/// What an aggregate or a process keeps: a struct with named fields and `#[state(version = 1)]`.
///
/// Field types: `bool`, integers, floats, `String`, `Option`, `Vec`, `BTreeMap`, `BTreeSet`, tuples, arrays, other states.
/// `#[state(version = 2, migrate(1 => from_v1))]` reads version 1, too: `fn from_v1(old: ViewsV1) -> Views`.
#[proc_macro_derive(State, attributes(state))]
pub fn state(input: TokenStream) -> TokenStream {
    expand(input, state::derive)
}

/// The settings of a plugin: a struct with named fields, or a unit struct for none.
///
/// `#[config(default = 10)]` or `#[config(default)]` on a field makes its key optional; `#[config(name = "…")]` names the key;
/// `#[config(check = path)]` on the struct calls `fn(&Self) -> Result<(), String>`.
#[proc_macro_derive(Config, attributes(config))]
pub fn config(input: TokenStream) -> TokenStream {
    expand(input, config::derive)
}

/// A plain function as a transform: `fn clean<'a>(play: Play<'a>, out: &mut Out<Clean<'a>>) -> Result<(), Reject>`.
///
/// Makes a type called like the function in camel case (`Clean`) and exports it. With settings, they come first:
/// `fn clean<'a>(settings: &Settings, play: Play<'a>, out: &mut Out<Clean<'a>>)`. A function that refuses nothing may return nothing.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match function::transform(arguments.into(), item.into()) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.to_compile_error().into(),
    }
}

fn expand(input: TokenStream, derive: fn(&syn::DeriveInput) -> syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
