//! The forms that a value can have, and what is said to the one who wrote another.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::error::Problem;
use super::placed::{At, Text};
use super::value;
use super::written::{closest, mismatch, place};
use crate::policy::{HostField, Mode, OriginCacheControl, RequestCacheControl, Scope, SetCookie, Validators};

/// A form that a value can have.
pub(super) trait Shape: Sized {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem>;
}

/// A number of bytes, written with its unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub u64);

impl Shape for String {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        let hint = "write it in double quotes";
        found.get_ref().as_str().map(str::to_owned).ok_or_else(|| mismatch(found, "a text", hint))
    }
}

impl Shape for bool {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        found.get_ref().as_bool().ok_or_else(|| mismatch(found, "true or false", "write true or false, without quotes"))
    }
}

impl Shape for u64 {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        let hint = "write a whole number without quotes, such as 64";
        let number = found.get_ref().as_integer().ok_or_else(|| mismatch(found, "a number", hint))?;
        let value = i128::from_str_radix(number.as_str(), number.radix()).ok();
        value.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| {
            let wrong = if number.as_str().starts_with('-') { "is negative" } else { "is too large" };
            Problem::new(&place(found), format!("{number} {wrong}"), hint)
        })
    }
}

impl Shape for Duration {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        let Some(text) = found.get_ref().as_str() else {
            let example = found.get_ref().as_integer().map_or_else(|| "30".to_owned(), ToString::to_string);
            return Err(mismatch(found, "a duration", format!("write it with its unit, in quotes: \"{example}s\"")));
        };
        value::duration(text).map_err(|hint| Problem::new(&place(found), format!("{text:?} is not a duration"), hint))
    }
}

impl Shape for Size {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        let Some(text) = found.get_ref().as_str() else {
            let example = found.get_ref().as_integer().map_or_else(|| "4096".to_owned(), ToString::to_string);
            return Err(mismatch(found, "a size", format!("write it with its unit, in quotes: \"{example}B\"")));
        };
        let read = value::size(text).map(Size);
        read.map_err(|hint| Problem::new(&place(found), format!("{text:?} is not a size"), hint))
    }
}

/// A list of texts; a single text is a list of one.
impl Shape for Vec<Text> {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        let text = |found: &Spanned<DeValue<'_>>| String::read(found).map(|value| At { value, place: place(found) });
        match found.get_ref() {
            DeValue::String(_) => Ok(vec![text(found)?]),
            DeValue::Array(elements) => elements.iter().map(text).collect(),
            _ => Err(mismatch(found, "a list of texts", "write it in brackets: [\"one\", \"two\"]")),
        }
    }
}

impl Shape for HostField {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        one_of(found, &[HostField::Client, HostField::Origin], HostField::word)
    }
}

impl Shape for Mode {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        one_of(found, &[Mode::Cache, Mode::Pass], Mode::word)
    }
}

impl Shape for Scope {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        match found.get_ref().as_str().and_then(|text| text.strip_prefix("claim:")) {
            Some("") => Err(Problem::new(
                &place(found),
                "`claim:` names no claim",
                "write the claim that a verified token carries, as in \"claim:tenant_id\"",
            )),
            Some(name) => Ok(Scope::Claim(name.to_owned())),
            None => {
                one_of(found, &["user", "authenticated", "claim:NAME", "public"], |word| word).map(|word| match word {
                    "authenticated" => Scope::Authenticated,
                    "public" => Scope::Public,
                    _ => Scope::User,
                })
            }
        }
    }
}

impl Shape for OriginCacheControl {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        use OriginCacheControl::{Ignore, Respect};
        one_of(found, &[Respect, Ignore], OriginCacheControl::word)
    }
}

impl Shape for RequestCacheControl {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        use RequestCacheControl::{Ignore, Reload, Respect};
        one_of(found, &[Reload, Ignore, Respect], RequestCacheControl::word)
    }
}

impl Shape for SetCookie {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        one_of(found, &[SetCookie::Refuse, SetCookie::Strip], SetCookie::word)
    }
}

impl Shape for Validators {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        one_of(found, &[Validators::Add, Validators::Origin], Validators::word)
    }
}

/// One word out of a few.
fn one_of<T: Copy>(found: &Spanned<DeValue<'_>>, values: &[T], word: fn(T) -> &'static str) -> Result<T, Problem> {
    let words = || values.iter().map(|value| word(*value));
    let choice = words().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
    let Some(text) = found.get_ref().as_str() else {
        return Err(mismatch(found, "a text", format!("write {choice}")));
    };
    values.iter().copied().find(|value| word(*value) == text).ok_or_else(|| {
        let hint = match closest(text, words()) {
            Some(word) => format!("did you mean {word:?}?"),
            None => format!("write {choice}"),
        };
        Problem::new(&place(found), format!("{text:?} is not known here"), hint)
    })
}
