//! `#[derive(Event)]`

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{DeriveInput, Error, GenericParam, Index, Lifetime, LitStr, Result, spanned::Spanned};

use crate::parse;

struct EventField<'a> {
    field: &'a syn::Field,
    name: String,
    path: String,
}

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let lifetime = lifetime(input)?;
    let fields = parse::named_fields(input, "an event")?.into_iter().map(field).collect::<Result<Vec<_>>>()?;
    parse::check_unique(fields.iter().map(|field| (field.field, field.name.as_str())))?;

    let borrowed = lifetime.unwrap_or_else(|| Lifetime::new("'reelflow", input.ident.span()));
    let ident = &input.ident;
    let (_, of_type, _) = input.generics.split_for_impl();
    let reads = |field: &EventField<'_>| {
        let ty = &field.field.ty;
        quote_spanned!(ty.span()=> <#ty as ::reelflow::__private::Field<#borrowed>>)
    };
    let types = fields.iter().map(|field| {
        let ty = &field.field.ty;
        quote_spanned!(ty.span()=> <#ty as ::reelflow::__private::Field<#borrowed>>::Column)
    });
    let specs = fields.iter().map(|field| {
        let (read, name, path) = (reads(field), &field.name, &field.path);
        quote! {
            ::reelflow::__private::FieldSpec { name: #name, path: #path, field_type: #read::TYPE, required: #read::REQUIRED }
        }
    });
    let columns: Vec<_> = (0..fields.len()).map(|idx| quote::format_ident!("column_{idx}")).collect();
    let binds = fields.iter().zip(&columns).map(|(field, column)| {
        let read = reads(field);
        quote!(#read::bind(#column))
    });
    let values = fields.iter().enumerate().map(|(idx, field)| {
        let (read, member, name, idx) = (reads(field), parse::ident(field.field), &field.name, Index::from(idx));
        quote!(#member: #read::at(&columns.#idx, idx, #name)?)
    });
    Ok(quote! {
        #[automatically_derived]
        #[allow(clippy::unused_unit, reason = "an event may have no fields")]
        impl<#borrowed> ::reelflow::Event<#borrowed> for #ident #of_type {
            const FIELDS: &'static [::reelflow::__private::FieldSpec] = &[#(#specs),*];
            type Columns = (#(#types,)*);

            fn bind(rows: &#borrowed ::reelflow::__private::Rows) -> Self::Columns {
                let [#(#columns),*] = ::reelflow::__private::columns(rows);
                (#(#binds,)*)
            }

            #[inline]
            fn row(columns: &Self::Columns, idx: usize) -> ::core::result::Result<Self, ::reelflow::Reject> {
                ::core::result::Result::Ok(Self { #(#values),* })
            }
        }
    })
}

/// The lifetime that the event borrows for, if it has one.
fn lifetime(input: &DeriveInput) -> Result<Option<Lifetime>> {
    let mut found = None;
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) if found.is_none() => found = Some(lifetime.lifetime.clone()),
            GenericParam::Lifetime(second) => {
                return Err(Error::new_spanned(
                    second,
                    "an event borrows from one batch, so it has one lifetime: use it for all fields",
                ));
            }
            other => {
                return Err(Error::new_spanned(other, "an event has no type parameters: the types of its columns are fixed"));
            }
        }
    }
    Ok(found)
}

fn field(field: &syn::Field) -> Result<EventField<'_>> {
    let (mut name, mut path) = (None, None);
    parse::keys(
        &field.attrs,
        "field",
        "`name = \"…\"` and `path = \"a.b\"`; a field of type `Option` is optional",
        |key, meta| {
            match key {
                "name" => name = Some(meta.value()?.parse::<LitStr>()?),
                "path" => {
                    let literal = meta.value()?.parse::<LitStr>()?;
                    if literal.value().split('.').any(str::is_empty) {
                        return Err(Error::new(literal.span(), "a path is names with dots between them, like \"context.page\""));
                    }
                    path = Some(literal.value());
                }
                _ => return Ok(false),
            }
            Ok(true)
        },
    )?;
    let name = parse::outer_name(field, name);
    Ok(EventField { field, path: path.unwrap_or_else(|| name.clone()), name })
}
