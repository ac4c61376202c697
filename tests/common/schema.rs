//! As much of JSON Schema as `tests/report.schema.json` uses; a word that it does not know is an error.

use serde_json::Value;

/// The schema of reports.
pub fn of_reports() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report.schema.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Whether `document` has the form of `schema`, else where it has not.
pub fn check(schema: &Value, document: &Value) -> Result<(), String> {
    valid(schema, schema, document, "$")
}

fn valid(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (word, rule) in schema.as_object().ok_or(format!("{at}: no schema"))? {
        let good = match word.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                valid(root, &root["$defs"][name], value, at)?;
                true
            }
            "type" => match rule.as_array() {
                Some(kinds) => kinds.iter().any(|kind| is(value, kind)),
                None => is(value, rule),
            },
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|it| it >= rule.as_f64().unwrap()),
            "pattern" => {
                assert_eq!(rule, "^[cs][0-9]+$", "the only pattern there is");
                let digits =
                    value.as_str().and_then(|it| it.strip_prefix(['c', 's'])).unwrap_or("");
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            }
            "required" => rule.as_array().unwrap().iter().all(|key| {
                value.as_object().is_none_or(|it| it.contains_key(key.as_str().unwrap()))
            }),
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(inner) = value.get(key) {
                        valid(root, rule, inner, &format!("{at}.{key}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(rule, false);
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|it| it.keys().all(|key| known.contains_key(key)))
            }
            "items" => {
                for (number, inner) in value.as_array().into_iter().flatten().enumerate() {
                    valid(root, rule, inner, &format!("{at}[{number}]"))?;
                }
                true
            }
            "oneOf" => {
                let all = rule.as_array().unwrap();
                let results: Vec<_> = all.iter().map(|it| valid(root, it, value, at)).collect();
                if results.iter().filter(|it| it.is_ok()).count() != 1 {
                    return Err(format!("{at}: not one of {results:?}"));
                }
                true
            }
            unknown => return Err(format!("{at}: the schema has {unknown}")),
        };
        if !good {
            return Err(format!("{at}: {word} {rule} forbids {value}"));
        }
    }
    Ok(())
}

fn is(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}
