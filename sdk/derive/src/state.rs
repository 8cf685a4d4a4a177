//! `#[derive(State)]`

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{DeriveInput, Error, LitInt, Path, Result, Token, ext::IdentExt, spanned::Spanned};

use crate::parse;

struct Versions {
    current: u32,
    /// (old version, the function that migrates from it)
    migrations: Vec<(u32, Path)>,
}

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let fields = parse::named_fields(input, "a state")?;
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a state owns its values: it has no lifetimes and no type parameters; keep text as `String`",
        ));
    }
    let versions = versions(input)?;
    for field in &fields {
        check_order(field)?;
    }

    let ident = &input.ident;
    let (name, current) = (ident.unraw().to_string(), versions.current);
    let members: Vec<_> = fields.iter().map(|field| parse::ident(field)).collect();
    let stored: Vec<_> = fields
        .iter()
        .map(|field| {
            let ty = &field.ty;
            quote_spanned!(ty.span()=> <#ty as ::reelflow::__private::Stored>)
        })
        .collect();
    let older = versions.migrations.iter().map(|(version, _)| version);
    let migrations = versions.migrations.iter().map(|(version, function)| {
        let version = u64::from(*version);
        quote!(#version => ::reelflow::__private::migrate(bytes, #name, #version, #function))
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::reelflow::State for #ident {
            const NAME: &'static str = #name;
            const VERSION: u32 = #current;
            const READS: &'static [u32] = &[#(#older),*];

            fn read_fields(
                bytes: &mut ::reelflow::__private::Bytes<'_>,
            ) -> ::core::result::Result<Self, ::reelflow::__private::StateError> {
                ::core::result::Result::Ok(Self { #(#members: #stored::read(bytes)?),* })
            }
        }

        #[automatically_derived]
        impl ::reelflow::__private::Stored for #ident {
            fn write(&self, to: &mut ::std::vec::Vec<u8>) {
                ::reelflow::__private::write_varint(::core::primitive::u64::from(#current), to);
                #(#stored::write(&self.#members, to);)*
            }

            fn read(bytes: &mut ::reelflow::__private::Bytes<'_>) -> ::core::result::Result<Self, ::reelflow::__private::StateError> {
                const CURRENT: u64 = #current as u64;
                match bytes.varint()? {
                    CURRENT => <Self as ::reelflow::State>::read_fields(bytes),
                    #(#migrations,)*
                    found => ::core::result::Result::Err(::reelflow::__private::StateError::Version {
                        name: #name,
                        found,
                        wanted: #current,
                    }),
                }
            }
        }
    })
}

fn versions(input: &DeriveInput) -> Result<Versions> {
    let (mut current, mut migrations) = (None, Vec::new());
    parse::keys(&input.attrs, "state", "`version = 1` and `migrate(1 => from_v1)`", |key, meta| {
        match key {
            "version" => {
                let literal = meta.value()?.parse::<LitInt>()?;
                match literal.base10_parse() {
                    Ok(version @ 1..) => current = Some(version),
                    _ => return Err(Error::new(literal.span(), "a version is an integer from 1 on")),
                }
            }
            "migrate" => {
                let arms;
                syn::parenthesized!(arms in meta.input);
                let arm = |arm: syn::parse::ParseStream<'_>| {
                    let old = arm.parse::<LitInt>()?;
                    arm.parse::<Token![=>]>()?;
                    Ok((old, arm.parse::<Path>()?))
                };
                migrations.extend(arms.parse_terminated(arm, Token![,])?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let current: u32 = current.ok_or_else(|| {
        Error::new(
            input.ident.span(),
            "a state has a version: write `#[state(version = 1)]`, and a higher one whenever its fields change",
        )
    })?;
    let older = |(literal, function): (LitInt, Path)| match literal.base10_parse() {
        Ok(old) if old < current => Ok((old, function)),
        _ => Err(Error::new(literal.span(), format!("only versions before {current} can be migrated from"))),
    };
    Ok(Versions { current, migrations: migrations.into_iter().map(older).collect::<Result<_>>()? })
}

/// Equal states must have equal bytes, which hash tables cannot give.
fn check_order(field: &syn::Field) -> Result<()> {
    for (hashed, ordered) in [("HashMap", "BTreeMap"), ("HashSet", "BTreeSet")] {
        if names(field.ty.to_token_stream(), hashed) {
            let why = format!("a {hashed} has no order of its own, so equal states would have different bytes: use a {ordered}");
            return Err(Error::new_spanned(&field.ty, why));
        }
    }
    Ok(())
}

fn names(tokens: TokenStream, wanted: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == wanted,
        TokenTree::Group(group) => names(group.stream(), wanted),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
