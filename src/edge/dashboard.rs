//! The page at `/` of the admin listener: one file without external resources, fed by `/stats` and `/changes`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// The page.
pub const PAGE: &str = include_str!("dashboard.html");

/// What the page may do, as Content-Security-Policy: run its own script, use its own style, ask its own origin.
pub static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source_hash(PAGE, "script"),
        source_hash(PAGE, "style"),
    )
});

/// The hash-source of the one inline `element` of the page (CSP 3 §2.3.1): SHA-256 over its text.
fn source_hash(page: &str, element: &str) -> String {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let text = page.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map_or("", |(text, _)| text);
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_nothing_outside_of_itself() {
        for foreign in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(foreign), "the page holds {foreign:?}");
        }
    }

    #[test]
    fn a_source_hash_is_of_the_elements_text() {
        // printf 'doSomething();' | openssl dgst -sha256 -binary | base64
        assert_eq!(
            source_hash("<p></p><script>doSomething();</script>", "script"),
            "sha256-RFWPLDbv2BY+rCkDzsE+0fr8ylGr2R2faWMhq4lfEQc="
        );
    }

    #[test]
    fn the_page_has_one_script_and_one_style() {
        for element in ["<script>", "</script>", "<style>", "</style>"] {
            assert_eq!(PAGE.matches(element).count(), 1, "{element}");
        }
        assert!(!PAGE.contains("style=\""), "inline style attributes are not allowed by the policy");
    }
}
