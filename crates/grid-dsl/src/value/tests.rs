use proptest::prelude::*;

use super::*;
use crate::testing::any_value;

fn read(text: &str) -> Value {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn digests_of_the_contract() {
    for (text, digest) in [
        ("null", "5b9bc4ba528108e4"),
        ("true", "5b5c98ef514dbfa5"),
        ("5", "af63a84c86019430"),
        ("-3", "07d00d07b497d491"),
        (r#"{"g":"012/345"}"#, "bdf303a6c328ff38"),
        (r#"{"t":[]}"#, "7a88c7247fe10833"),
        (r#"{"t":[1,2]}"#, "f5fe7fe117204c48"),
        (r#"{"s":[]}"#, "7aa6b823e34d0ab4"),
        (r#"{"i":[0,0,0,1]}"#, "ab98993254b9a9e1"),
        (r#"{"o":[1,0,0,2,0,1]}"#, "af5979343b674b32"),
        (r#"{"s":[{"o":[1,0,0]},{"o":[2,0,1]}]}"#, "b3d889463155428a"),
        (r#"{"f":"compose","a":[{"f":"size"},{"f":"dedupe"}]}"#, "6516c6573efaa486"),
    ] {
        let value = read(text);
        assert_eq!(value.to_text(), text);
        assert_eq!(hex(value.digest()), digest, "{text}");
    }
}

#[test]
fn truth_values_are_numbers() {
    assert_eq!(Value::Bool(true), Value::Int(1));
    assert_eq!(read(r#"{"s":[1,true,0]}"#).to_text(), r#"{"s":[0,1]}"#);
    assert_eq!(read(r#"{"t":[true,0]}"#), Value::pair(1, 0));
    assert_eq!(read(r#"{"t":[{"t":[true]}]}"#).to_text(), r#"{"t":[{"t":[true]}]}"#);
}

#[test]
fn kinds_in_order() {
    let text = r#"{"s":[null,-1,0,2,{"t":[]},{"t":[1]},{"t":[1,2]},{"s":[]},{"s":[1]},{"f":"add"},{"f":"size"}]}"#;
    assert_eq!(read(text).to_text(), text);
}

#[test]
fn broken_texts_say_where() {
    for (text, at) in [
        ("", 0),
        ("nul", 0),
        ("01", 0),
        ("1 2", 2),
        ("2147483648", 0),
        (r#"{"g":"01/2"}"#, 5),
        (r#"{"i":[1]}"#, 8),
        (r#"{"f":"nosuch"}"#, 13),
        (r#"{"f":"power","a":[{"f":"rot90"},0]}"#, 34),
        (r#"{"q":1}"#, 5),
        (r#"{"t":[1,]}"#, 8),
    ] {
        assert_eq!(text.parse::<Value>().unwrap_err().at, at, "{text}");
    }
    let deep = format!("{}1{}", "{\"t\":[".repeat(100_000), "]}".repeat(100_000));
    assert!(deep.parse::<Value>().unwrap_err().what.contains("nested deeper"));
}

proptest! {
    #[test]
    fn text_comes_back(value in any_value()) {
        let text = value.to_text();
        let back: Value = text.parse().unwrap();
        prop_assert_eq!(back.to_text(), text);
        prop_assert_eq!(&back, &value);
    }

    #[test]
    fn the_order_is_total(a in any_value(), b in any_value(), c in any_value()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
        prop_assert_eq!(a.cmp(&a), Ordering::Equal);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\":,gtsiof0-9 a-]{0,60}") {
        if let Ok(value) = text.parse::<Value>() {
            prop_assert_eq!(value.to_text().parse::<Value>().unwrap(), value);
        }
    }
}
