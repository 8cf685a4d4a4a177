//! `#[derive(Emit)]` and `#[derive(Outputs)]`

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Type, ext::IdentExt, spanned::Spanned};

use crate::parse;

pub fn derive_emit(input: &DeriveInput) -> Result<TokenStream> {
    let fields = parse::named_fields(input, "an emitted row")?;
    let names = fields.iter().map(|field| name_of(field)).collect::<Result<Vec<_>>>()?;
    parse::check_unique(fields.iter().copied().zip(names.iter().map(String::as_str)))?;

    let ident = &input.ident;
    let (parameters, of_type, bounds) = input.generics.split_for_impl();
    let specs = fields.iter().zip(&names).map(|(field, name)| {
        let ty = &field.ty;
        let write = quote_spanned!(ty.span()=> <#ty as ::reelflow::__private::EmitField>);
        quote! {
            ::reelflow::__private::FieldSpec {
                name: #name,
                path: #name,
                field_type: #write::TYPE,
                required: #write::REQUIRED,
            }
        }
    });
    let columns: Vec<_> = (0..fields.len()).map(|idx| quote::format_ident!("column_{idx}")).collect();
    let pushes = fields.iter().zip(&columns).map(|(field, column)| {
        let (member, ty) = (parse::ident(field), &field.ty);
        quote_spanned!(ty.span()=> <#ty as ::reelflow::__private::EmitField>::push(self.#member, #column))
    });
    Ok(quote! {
        #[automatically_derived]
        impl #parameters ::reelflow::Emit for #ident #of_type #bounds {
            const FIELDS: &'static [::reelflow::__private::FieldSpec] = &[#(#specs),*];

            #[inline]
            fn push(self, columns: &mut [::reelflow::__private::Builder]) {
                let [#(#columns),*] = columns else { ::core::unreachable!("one column for each field") };
                #(#pushes;)*
            }
        }

        #[automatically_derived]
        impl #parameters ::reelflow::Outputs for #ident #of_type #bounds {
            const OUTPUTS: &'static [::reelflow::__private::OutputSpec] =
                &[::reelflow::__private::OutputSpec { name: "out", fields: <Self as ::reelflow::Emit>::FIELDS }];

            #[inline]
            fn route(self, sinks: &mut [::reelflow::__private::Sink], origin: u32) {
                sinks[0].push(self, origin);
            }
        }
    })
}

pub fn derive_outputs(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "several outputs are an enum; for one output, `#[derive(Emit)]` on the struct is enough",
        ));
    };
    let mut outputs: Vec<(&syn::Ident, &Type, String)> = Vec::new();
    for variant in &data.variants {
        let Fields::Unnamed(fields) = &variant.fields else {
            return Err(Error::new_spanned(variant, "an output holds a row: write `Name(Row)`"));
        };
        let (Some(field), 1) = (fields.unnamed.first(), fields.unnamed.len()) else {
            return Err(Error::new_spanned(variant, "an output holds one row: write `Name(Row)`"));
        };
        let mut name = None;
        parse::keys(&variant.attrs, "output", "`name = \"…\"`", |key, meta| {
            if key == "name" {
                name = Some(meta.value()?.parse::<LitStr>()?.value());
            }
            Ok(key == "name")
        })?;
        let name = name.unwrap_or_else(|| parse::snake(&variant.ident.unraw().to_string()));
        if outputs.iter().any(|(_, _, other)| *other == name) {
            return Err(Error::new_spanned(variant, format!("there are two outputs called \"{name}\"")));
        }
        outputs.push((&variant.ident, &field.ty, name));
    }
    if outputs.is_empty() {
        return Err(Error::new(input.ident.span(), "an enum of outputs has at least one variant"));
    }

    let ident = &input.ident;
    let (parameters, of_type, bounds) = input.generics.split_for_impl();
    let specs = outputs.iter().map(|(_, ty, name)| {
        let row = quote_spanned!(ty.span()=> ::reelflow::Emit);
        quote!(::reelflow::__private::OutputSpec { name: #name, fields: <#ty as #row>::FIELDS })
    });
    let arms =
        outputs.iter().enumerate().map(|(idx, (variant, _, _))| quote!(Self::#variant(row) => sinks[#idx].push(row, origin)));
    Ok(quote! {
        #[automatically_derived]
        impl #parameters ::reelflow::Outputs for #ident #of_type #bounds {
            const OUTPUTS: &'static [::reelflow::__private::OutputSpec] = &[#(#specs),*];

            #[inline]
            fn route(self, sinks: &mut [::reelflow::__private::Sink], origin: u32) {
                match self {
                    #(#arms,)*
                }
            }
        }
    })
}

fn name_of(field: &syn::Field) -> Result<String> {
    let mut name = None;
    parse::keys(&field.attrs, "field", "`name = \"…\"`", |key, meta| {
        if key == "name" {
            name = Some(meta.value()?.parse::<LitStr>()?);
        }
        Ok(key == "name")
    })?;
    Ok(parse::outer_name(field, name))
}
