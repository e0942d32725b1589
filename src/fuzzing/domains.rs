//! Spellings of domains.

use std::borrow::Cow;

use super::parts::Parts;
use crate::model::domain;

/// Two addresses, or domains.
///
/// The form that is compared is ASCII in lower case, and has itself as its form. Every spelling of a domain has
/// the same form; what stands before the domain stays as it is.
pub fn domains(bytes: &[u8]) {
    let mut parts = Parts::of(bytes);
    let (one, other) = (parts.text(), parts.text());
    assert!(domain::is_same_user(&one, &one), "{one:?}");
    assert_eq!(domain::is_same_user(&one, &other), domain::is_same_user(&other, &one), "{one:?} {other:?}");
    for text in [&one, &other] {
        spellings(text);
    }
}

fn spellings(address: &str) {
    let name = domain::of_address(address);
    let before = address.strip_suffix(name).expect("the domain is at the end");
    assert!(!name.contains('@') && (before.is_empty() || before.ends_with('@')), "{address:?}");
    let Some(form) = domain::comparable(name) else {
        assert_eq!(domain::with_ascii(Cow::Borrowed(address)), address);
        return;
    };
    assert!(form.is_ascii() && !form.bytes().any(|byte| byte.is_ascii_uppercase()), "{form:?}");
    // One final dot is ignored; a name with two is none.
    if !form.ends_with('.') {
        assert_eq!(domain::comparable(&form), Some(form.clone()), "{name:?}");
        for spelling in [domain::with_ascii, domain::with_unicode] {
            let spelled = spelling(Cow::Borrowed(address));
            assert!(spelled.starts_with(before), "{address:?} {spelled:?}");
            assert_eq!(domain::comparable(domain::of_address(&spelled)), Some(form.clone()), "{address:?}");
        }
    }
}
