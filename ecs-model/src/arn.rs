//! Names in ARNs.

/// The last part of an ARN or a path: `web:42` of `arn:aws:ecs:eu-west-1:123456789012:task-definition/web:42`.
#[must_use]
pub fn last_part(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, last)| last)
}

/// The cluster's ARN: its own, or else from the resource's ARN, unless that has the old short form.
#[must_use]
pub fn cluster_arn(cluster_arn: Option<&str>, arn: &str) -> Option<String> {
    cluster_arn.map(str::to_owned).or_else(|| {
        let (home, _) = arn.split_once('/')?.0.rsplit_once(':')?;
        Some(format!("{home}:cluster/{}", cluster_name(None, arn)?))
    })
}

/// The region in an ARN.
#[must_use]
pub fn region(arn: &str) -> Option<&str> {
    arn.split(':').nth(3)
}

/// The account in an ARN.
#[must_use]
pub fn account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

/// The cluster's name: from its ARN, or else from the resource's ARN, unless that has the old short form.
#[must_use]
pub fn cluster_name<'a>(cluster_arn: Option<&'a str>, arn: &'a str) -> Option<&'a str> {
    cluster_arn.map(last_part).or_else(|| match *arn.split('/').collect::<Vec<_>>() {
        [_, cluster, _] => Some(cluster),
        _ => None,
    })
}

/// Whether this is a full id of a task or container instance: 32 hexadecimal digits, or a UUID in an old ARN.
#[must_use]
pub fn is_id(text: &str) -> bool {
    matches!(text.len(), 32 | 36) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
