//! The kinds of resource whose states are recorded: tasks and container instances.

/// The longest key that DynamoDB accepts, in bytes.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const MAX_KEY_BYTES: usize = 2048;

/// A kind of ECS resource. Each kind has its own table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Resource {
    /// An ECS task.
    Task,
    /// A container instance: the EC2 or external instance that tasks run on.
    ContainerInstance,
}

impl Resource {
    /// Every kind of resource.
    pub const ALL: [Self; 2] = [Self::Task, Self::ContainerInstance];

    /// The `detail-type` of the events that report its changes.
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Task => "ECS Task State Change",
            Self::ContainerInstance => "ECS Container Instance State Change",
        }
    }

    /// The kind of resource whose changes have this `detail-type`, if there is one.
    pub fn from_detail_type(detail_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.detail_type() == detail_type)
    }

    /// The detail field that contains the ARN, which is also the partition key of the table.
    pub fn key(self) -> &'static str {
        match self {
            Self::Task => "taskArn",
            Self::ContainerInstance => "containerInstanceArn",
        }
    }
}
