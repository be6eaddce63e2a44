//! Which of DynamoDB's messages may be logged: those that are known not to quote the request.

use crate::aws::is_error_code;

/// DynamoDB's messages that are passed on, by error code. None has room for data from an item: `<arn>` is an ARN,
/// `<action>` an IAM action, `<policy>` one of [`POLICIES`].
///
/// Sources: DynamoDB's [errors], IAM's [access denied messages].
///
/// [errors]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
/// [access denied messages]: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
const KNOWN_MESSAGES: [(&str, &str); 16] = [
    ("AccessDeniedException", "User: <arn> is not authorized to perform: <action> on resource: <arn>"),
    (
        "AccessDeniedException",
        "User: <arn> is not authorized to perform: <action> on resource: <arn> because no <policy> allows the <action> \
         action",
    ),
    (
        "AccessDeniedException",
        "User: <arn> is not authorized to perform: <action> on resource: <arn> with an explicit deny in a <policy>",
    ),
    (
        "AccessDeniedException",
        "User: <arn> is not authorized to perform: <action> on resource: <arn> with an explicit deny in an <policy>",
    ),
    ("ResourceNotFoundException", "Requested resource not found"),
    ("ResourceNotFoundException", "Cannot do operations on a non-existent table"),
    (
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
         provisioning level with the UpdateTable API.",
    ),
    ("ThrottlingException", "Rate of requests exceeds the allowed throughput."),
    ("ThrottlingException", "Rate exceeded"),
    ("ValidationException", "Item size has exceeded the maximum allowed size"),
    (
        "ValidationException",
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported \
         limit",
    ),
    ("ValidationException", "Attempting to store more than 38 significant digits in a Number"),
    ("ValidationException", "Number overflow. Attempting to store a number with magnitude larger than supported range"),
    (
        "ValidationException",
        "Number underflow. Attempting to store a number with magnitude smaller than supported range",
    ),
    ("UnrecognizedClientException", "The security token included in the request is invalid."),
    ("ExpiredTokenException", "The security token included in the request is expired"),
];

/// IAM's names for the policies that can deny access.
const POLICIES: [&str; 7] = [
    "identity-based policy",
    "resource-based policy",
    "session policy",
    "permissions boundary",
    "service control policy",
    "resource control policy",
    "VPC endpoint policy",
];

/// Whether a message is one of [`KNOWN_MESSAGES`], with or without the prefix of a `ValidationException`.
pub(crate) fn is_known_message(code: &str, message: &str) -> bool {
    let message = ["1 validation error detected: ", "One or more parameter values were invalid: "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .unwrap_or(message);
    let message = POLICIES.iter().fold(message.to_owned(), |message, policy| message.replace(policy, "<policy>"));
    let fits = |expected: &str, word: &str| match expected {
        "<arn>" => word.starts_with("arn:aws") && is_word(word),
        "<action>" => matches!(word.split_once(':'), Some(("dynamodb" | "kms", name)) if is_error_code(name)),
        _ => word == expected,
    };
    let has_form = |form: &str| {
        let mut words = message.split(' ');
        form.split(' ').all(|expected| words.next().is_some_and(|word| fits(expected, word))) && words.next().is_none()
    };
    KNOWN_MESSAGES.iter().any(|(known, form)| *known == code && has_form(form))
}

/// Whether a text is a single word of characters that occur in ARNs.
fn is_word(text: &str) -> bool {
    text.len() <= 2048 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_.@=+,-*".contains(&byte))
}
