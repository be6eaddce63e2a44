//! Redaction: the values of overridden environment variables, which can be secrets, stay out of the row.

use aws_sdk_dynamodb::types::AttributeValue;

/// Stored in place of a redacted value.
pub const REDACTED: &str = "[redacted]";

/// Redacts everything in `overrides.containerOverrides[].environment[]` except the names. Any part of this path with an
/// unexpected form is redacted as a whole, since the values could be anywhere in it.
pub fn redact_environment(overrides: &mut AttributeValue) {
    in_field(overrides, "containerOverrides", |containers| {
        in_entries(containers, |container| {
            in_field(container, "environment", |environment| {
                in_entries(environment, |variable| match variable {
                    AttributeValue::M(variable) => {
                        for (field, value) in variable {
                            if field != "name" || !value.is_s() {
                                redact(value);
                            }
                        }
                    }
                    other => redact(other),
                });
            });
        });
    });
}

fn in_field(value: &mut AttributeValue, name: &str, then: impl FnOnce(&mut AttributeValue)) {
    match value {
        AttributeValue::M(fields) => _ = fields.get_mut(name).map(then),
        other => redact(other),
    }
}

fn in_entries(value: &mut AttributeValue, then: impl FnMut(&mut AttributeValue)) {
    match value {
        AttributeValue::L(entries) => entries.iter_mut().for_each(then),
        other => redact(other),
    }
}

/// Null is kept: it contains no secret.
fn redact(value: &mut AttributeValue) {
    if !value.is_null() {
        *value = AttributeValue::S(REDACTED.to_owned());
    }
}
