//! `#[derive(Config)]`

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Expr, Fields, LitStr, Path, Result, Token, spanned::Spanned};

use crate::parse;

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(parameter, "a config owns its values: it has no lifetimes and no type parameters"));
    }
    let unit = matches!(&input.data, Data::Struct(data) if matches!(data.fields, Fields::Unit));
    let fields = if unit { Vec::new() } else { parse::named_fields(input, "a config")? };
    let settings = fields.iter().map(|field| setting(field)).collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = settings.iter().map(|setting| setting.name.as_str()).collect();
    parse::check_unique(fields.iter().copied().zip(names.iter().copied()))?;

    let ident = &input.ident;
    let check = check(input)?
        .map(|check| quote_spanned!(check.span()=> #check(&config).map_err(::reelflow::__private::ConfigError::new)?;));
    let values = fields.iter().zip(&settings).map(|(field, setting)| {
        let (member, ty, name) = (parse::ident(field), &field.ty, &setting.name);
        let default = match &setting.default {
            Some(default) => quote!(::core::option::Option::Some::<fn() -> #ty>(|| #default)),
            None => quote!(::core::option::Option::None),
        };
        let read = quote_spanned!(ty.span()=> ::reelflow::__private::setting::<#ty>);
        quote!(#member: #read(json, #name, #default)?)
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::reelflow::Config for #ident {
            fn from_json(
                json: &::reelflow::__private::Json,
            ) -> ::core::result::Result<Self, ::reelflow::__private::ConfigError> {
                ::reelflow::__private::check_keys(json, &[#(#names),*])?;
                let config = Self { #(#values),* };
                #check
                ::core::result::Result::Ok(config)
            }
        }

        #[automatically_derived]
        impl ::reelflow::__private::Setting for #ident {
            fn from_json(
                json: &::reelflow::__private::Json,
            ) -> ::core::result::Result<Self, ::reelflow::__private::ConfigError> {
                <Self as ::reelflow::Config>::from_json(json)
            }
        }
    })
}

struct Setting {
    name: String,
    default: Option<TokenStream>,
}

fn setting(field: &syn::Field) -> Result<Setting> {
    let (mut name, mut default) = (None, None);
    parse::keys(&field.attrs, "config", "`default`, `default = …` and `name = \"…\"`", |key, meta| {
        match key {
            "name" => name = Some(meta.value()?.parse::<LitStr>()?),
            "default" if meta.input.peek(Token![=]) => {
                let value = meta.value()?.parse::<Expr>()?;
                default = Some(quote!(#value));
            }
            "default" => default = Some(quote!(::core::default::Default::default())),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Setting { name: parse::outer_name(field, name), default })
}

fn check(input: &DeriveInput) -> Result<Option<Path>> {
    let mut check = None;
    parse::keys(&input.attrs, "config", "`check = function`", |key, meta| {
        if key == "check" {
            check = Some(meta.value()?.parse::<Path>()?);
        }
        Ok(key == "check")
    })?;
    Ok(check)
}
