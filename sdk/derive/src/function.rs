//! `#[reelflow::transform]`

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Error, FnArg, GenericArgument, GenericParam, ItemFn, Lifetime, PathArguments, Result, ReturnType, Type, TypeReference,
    ext::IdentExt, visit_mut::VisitMut,
};

use crate::parse;

const SHAPE: &str = "a transform is a function of an event and an `&mut Out<…>`: \
                     `fn clean<'a>(play: Play<'a>, out: &mut Out<Clean<'a>>) -> Result<(), Reject>`";

pub fn transform(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(
            arguments,
            "`#[reelflow::transform]` takes nothing: settings are the function's first parameter",
        ));
    }
    let function: ItemFn = syn::parse2(item)?;
    let batch = batch_lifetime(&function)?;
    let types = function.sig.inputs.iter().map(argument).collect::<Result<Vec<_>>>()?;
    let (settings, event, out) = match types[..] {
        [event, out] => (None, event, out),
        [Type::Reference(TypeReference { elem, mutability: None, .. }), event, out] => (Some(&**elem), event, out),
        _ => return Err(Error::new_spanned(&function.sig, SHAPE)),
    };
    let event = borrowed(event, &batch);
    let row = borrowed(emitted(out)?, &batch);

    let (name, visibility) = (&function.sig.ident, &function.vis);
    let plugin = format_ident!("{}", parse::camel(&name.unraw().to_string()), span = name.span());
    let doc = format!("The plugin that [`{name}`] is the function of.");
    let (fields, from_json, config) = match settings {
        None => (quote!(;), quote!(::reelflow::__private::check_keys(json, &[]).map(|()| Self)), None),
        Some(settings) => {
            let from_json = quote!(<#settings as ::reelflow::Config>::from_json(json).map(Self));
            (quote!((pub #settings);), from_json, Some(quote!(&self.0,)))
        }
    };
    let call = match function.sig.output {
        ReturnType::Type(..) => quote!(#name(#config event, out)),
        ReturnType::Default => quote! {
            #name(#config event, out);
            ::core::result::Result::Ok(())
        },
    };
    Ok(quote! {
        #function

        #[doc = #doc]
        #visibility struct #plugin #fields

        impl ::reelflow::Config for #plugin {
            fn from_json(json: &::reelflow::__private::Json) -> ::core::result::Result<Self, ::reelflow::__private::ConfigError> {
                #from_json
            }
        }

        impl ::reelflow::Transform for #plugin {
            type Event<#batch> = #event;
            type Output<#batch> = #row;

            #[inline]
            fn apply<#batch>(
                &self,
                event: #event,
                out: &mut ::reelflow::Out<#row>,
            ) -> ::core::result::Result<(), ::reelflow::Reject> {
                #call
            }
        }

        ::reelflow::export!(#plugin as Transform);
    })
}

/// The function's lifetime, or one of ours for `Play<'_>` and for events that borrow nothing.
fn batch_lifetime(function: &ItemFn) -> Result<Lifetime> {
    let mut found = None;
    for parameter in &function.sig.generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) if found.is_none() => found = Some(lifetime.lifetime.clone()),
            other => {
                return Err(Error::new_spanned(
                    other,
                    "a transform borrows from one batch: one lifetime, and no type parameters",
                ));
            }
        }
    }
    Ok(found.unwrap_or_else(|| Lifetime::new("'batch", function.sig.ident.span())))
}

fn argument(argument: &FnArg) -> Result<&Type> {
    match argument {
        FnArg::Typed(typed) => Ok(&typed.ty),
        FnArg::Receiver(receiver) => Err(Error::new_spanned(receiver, SHAPE)),
    }
}

/// `T` of `&mut Out<T>`.
fn emitted(out: &Type) -> Result<&Type> {
    if let Type::Reference(TypeReference { mutability: Some(_), elem, .. }) = out
        && let Type::Path(path) = &**elem
        && let Some(last) = path.path.segments.last()
        && last.ident == "Out"
        && let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let Some(GenericArgument::Type(row)) = arguments.args.first()
    {
        return Ok(row);
    }
    Err(Error::new_spanned(out, SHAPE))
}

/// The type with `'_` written out.
fn borrowed(ty: &Type, batch: &Lifetime) -> Type {
    struct Named<'a>(&'a Lifetime);
    impl VisitMut for Named<'_> {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident == "_" {
                *lifetime = self.0.clone();
            }
        }
    }
    let mut ty = ty.clone();
    Named(batch).visit_type_mut(&mut ty);
    ty
}
