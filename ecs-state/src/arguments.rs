//! The arguments of the command line.
#![allow(clippy::doc_markdown, reason = "these comments are the help, which is not Markdown")]

use std::error::Error;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use ecs_model::diagnosis::{Actor, Cause, Code, Diagnosis};
use ecs_state_recorder::config::is_account_id;

use crate::failure::Failure;
use crate::tables::filter::Filter;
use crate::time::{self, Since};

const EXAMPLES: &str = "\
Examples:
  ecs-state tasks --cluster demo --service web        the active tasks of a service
  ecs-state services --failing                        the services that fail now, and why
  ecs-state tasks --at 2026-03-02T11:40:26Z           the tasks that ran then
  ecs-state tasks --ip 10.0.24.54 --at 2h             the task that had an address two hours ago
  ecs-state stopped --since 7d --code OutOfMemory     tasks killed for exceeding their memory
  ecs-state stopped --since 7d --summary              stops counted by reason
  ecs-state task 5f1b9c0e                             one task: its life, and why it stopped
  ecs-state logs 5f1b9c0e                             the last lines of its log
  ecs-state explain event.json                        why the task of an event stopped
  ecs-state images --image nginx                      which groups run an image, by digest
  ecs-state instances --disconnected 5m               instances whose agent stays disconnected
  ecs-state metrics --cluster demo                    counts of tasks and stops, for Prometheus
  ecs-state tasks --json | jq -r .taskArn             for programs: one object per line

Exit codes:
  0  found    1  nothing found    2  wrong usage, or several tasks match
  3  AWS refused or could not be reached, or a row could not be read";

const EXPLAIN: &str = "\
Examples:
  ecs-state explain event.json
  aws ecs describe-tasks --cluster demo --tasks ID | ecs-state explain -
  ecs-state stopped --json | ecs-state explain --json - | jq .diagnosis.advice

A wrong diagnosis? Please report it with the file, after you have removed names and secrets from it.";

const LOGS: &str = "\
No other command reads more than the tables. This one asks ECS for the task definition (DescribeTaskDefinition) and \
CloudWatch Logs for the lines (GetLogEvents), in the region of the task and of the log. If the log goes elsewhere, it \
says where.";

/// Show what runs on Amazon ECS, what stopped, and why, from the tables of ecs-state-recorder.
#[derive(Debug, Parser)]
#[command(name = "ecs-state", version, after_help = EXAMPLES, max_term_width = 120, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the tasks that have not stopped, now or at an earlier time
    Tasks(TasksArguments),
    /// List stopped tasks, newest first, and why they stopped
    Stopped(StoppedArguments),
    /// List services: what runs, what fails and why, crash loops first
    #[command(
        mut_arg("group", |group| group.help("Only tasks of this group: service:web")),
        mut_arg("status", |status| status.hide(true))
    )]
    Services(GroupArguments),
    /// List what runs without a service: each group's last run and its outcome
    #[command(
        mut_arg("since", |since| since.default_value("24h")),
        mut_arg("failing", |failing| failing.help("Only those with failed runs in that time; StopTask is no failure")),
        mut_arg("group", |group| group.help("Only tasks of this group: family:etl, or a custom group")),
        mut_arg("service", |service| service.hide(true)),
        mut_arg("status", |status| status.hide(true))
    )]
    Jobs(GroupArguments),
    /// Show one task: its life, containers and network, and why it stopped
    Task(TaskArguments),
    /// Print the last lines of a task's log, from CloudWatch Logs
    #[command(after_help = LOGS)]
    Logs(LogsArguments),
    /// Explain why a task stopped, from a file: without any table or AWS account
    #[command(after_help = EXPLAIN, args = Connection::hidden())]
    Explain(ExplainArguments),
    /// List the images that run, now or earlier, by digest, and the groups that run them
    Images(ImagesArguments),
    /// List container instances
    Instances(InstancesArguments),
    /// Watch the tasks that have not stopped, or services, with changes highlighted
    Watch(WatchArguments),
    /// Print metrics of tasks and container instances once, as OpenMetrics text
    #[command(after_help = "\
For the textfile collector of node_exporter, which must never read half a file:
  cd /var/lib/node_exporter && ecs-state metrics > ecs.prom.new && mv ecs.prom.new ecs.prom")]
    Metrics(MetricsArguments),
    /// Print a shell's completion script
    #[command(args = Connection::hidden(), after_help = "\
Examples:
  bash    source <(ecs-state completions bash)
  zsh     ecs-state completions zsh > \"${fpath[1]}/_ecs-state\"
  fish    ecs-state completions fish > ~/.config/fish/completions/ecs-state.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Tables")]
pub(crate) struct Connection {
    /// The table of tasks [default: ECSTaskState]
    #[arg(long, global = true, value_name = "NAME", env = "TASK_TABLE_NAME", hide_env_values = true)]
    pub(crate) task_table: Option<String>,
    /// The table of container instances [default: ECSCtrInstanceState]
    #[arg(long, global = true, value_name = "NAME", env = "CONTAINER_INSTANCE_TABLE_NAME", hide_env_values = true)]
    pub(crate) container_instance_table: Option<String>,
    /// The profile of ~/.aws/config [default: AWS_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The region [default: AWS_REGION, or the profile's]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) region: Option<String>,
}

impl Connection {
    /// What was given, but for the table of container instances, to repeat it in another command.
    pub(crate) fn given(&self) -> impl Iterator<Item = [&str; 2]> {
        let given = [("--task-table", &self.task_table), ("--profile", &self.profile), ("--region", &self.region)];
        given.into_iter().filter_map(|(flag, value)| Some([flag, value.as_deref()?]))
    }

    /// For commands that read no table: they accept these, which are global, but their help does not list them.
    fn hidden() -> Vec<Arg> {
        let command = Self::augment_args(clap::Command::default());
        command.get_arguments().map(|argument| argument.clone().hide(true)).collect()
    }
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filters {
    /// Only tasks of this cluster
    #[arg(long, value_name = "NAME|ARN")]
    cluster: Option<String>,
    /// Only tasks of this account
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
    /// Only tasks of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only tasks of this task definition, in any revision or in one: web, web:42
    #[arg(long, value_name = "FAMILY[:REVISION]")]
    family: Option<String>,
    /// Only tasks of this group: service:web, family:etl, or a custom group
    #[arg(long)]
    group: Option<String>,
    /// Only tasks in this status
    #[arg(long, ignore_case = true, hide_possible_values = true, value_parser = PossibleValuesParser::new(STATUSES.split(' ')))]
    status: Option<String>,
    /// Only tasks started by this deployment, user or program
    #[arg(long, value_name = "NAME")]
    started_by: Option<String>,
    /// Only tasks with a container whose image or digest contains this text
    #[arg(long, value_name = "TEXT")]
    image: Option<String>,
    /// Only tasks with this private address, IPv4 or IPv6
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// Only tasks on this container instance, by its id or a prefix of it
    #[arg(long, value_name = "ID|ARN|EC2 ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) instance: Option<String>,
    /// Include tasks that ECS no longer knows and that are not known to have stopped
    #[arg(long)]
    missing: bool,
}

const STATUSES: &str = "PROVISIONING PENDING ACTIVATING RUNNING DEACTIVATING STOPPING DEPROVISIONING STOPPED DELETED";

impl Filters {
    /// Converts all but the instance. `stopped` is whether stopped tasks are listed; `at` is when the conditions must
    /// hold.
    pub(crate) fn filter(&self, stopped: bool, at: Option<DateTime<Utc>>) -> Result<Filter, Failure> {
        let status = self.status.as_ref().map(|status| status.to_ascii_uppercase());
        if let Some(status) = &status
            && ["STOPPED", "DELETED"].contains(&status.as_str()) != stopped
        {
            let command = if stopped { "tasks" } else { "stopped" };
            return Err(Failure::Usage(format!("tasks in status {status} are listed by `ecs-state {command}`")));
        }
        if let (Some(status), Some(_)) = (&status, at)
            && !["PENDING", "RUNNING", "STOPPING"].contains(&status.as_str())
        {
            let text =
                format!("with --at, the status is PENDING, RUNNING or STOPPING: no time in a row tells {status}");
            return Err(Failure::Usage(text));
        }
        if stopped && self.missing {
            return Err(Failure::Usage(
                "tasks that are missing in ECS are listed by `ecs-state tasks --missing`".to_owned(),
            ));
        }
        Ok(Filter {
            cluster: self.cluster.clone(),
            account: self.account.clone(),
            // The column GROUP shows it with the prefix.
            service: self.service.as_ref().map(|name| name.strip_prefix("service:").unwrap_or(name).to_owned()),
            group: self.group.clone(),
            family: self.family.clone(),
            started_by: self.started_by.clone(),
            status,
            image: self.image.clone(),
            ip: self.ip,
            instances: None,
            missing: self.missing,
            at,
            services: None,
        })
    }
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Print one JSON object per line, with ECS's own field names; a stopped task also has a `diagnosis`
    #[arg(long)]
    pub(crate) json: bool,
    /// Show overridden environment variables and commands, which may be secret
    #[arg(long)]
    pub(crate) show_environment: bool,
    #[arg(long, help = SCAN)]
    pub(crate) scan: bool,
}

/// The output of the commands that show no rows as they are.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct PlainOutput {
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(long, help = SCAN)]
    pub(crate) scan: bool,
}

const SCAN: &str = "Read the whole table instead of the index, to find rows that the index lacks: those older than the \
                    index, or without a cluster";

#[derive(Args, Debug)]
pub(crate) struct TasksArguments {
    /// The tasks of that time, with their status then, by which --status selects: 2h (ago), 2026-03-02 (0:00 UTC), or
    /// 2026-03-02T11:40:26Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time::past)]
    pub(crate) at: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// At most this many tasks
    #[arg(long, help_heading = "Output", value_name = "NUMBER", value_parser = at_least_one)]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
#[command(mut_arg("missing", |missing| missing.hide(true)))]
pub(crate) struct StoppedArguments {
    /// Only tasks that stopped then or later: 24h, 7d (before --until), 2026-03-02 (0:00 UTC), or 2026-03-02T11:40:26Z
    #[arg(long, value_name = "TIME", default_value = "24h", allow_hyphen_values = true, value_parser = time::since)]
    pub(crate) since: Since,
    /// Only tasks that stopped then or earlier: 2h (ago), 2026-03-02 (0:00 UTC), or 2026-03-02T11:40:26Z [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time::past)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Count the tasks by code and cause, and by group, instead of listing them
    #[arg(long, conflicts_with = "limit")]
    pub(crate) summary: bool,
    #[command(flatten)]
    pub(crate) reasons: Reasons,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// At most this many tasks
    #[arg(long, help_heading = "Output", value_name = "NUMBER", value_parser = at_least_one)]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct GroupArguments {
    /// Count stops from then on: 1h, 7d (before --at), 2026-03-02 (0:00 UTC), or 2026-03-02T11:40:26Z
    #[arg(long, value_name = "TIME", default_value = "1h", allow_hyphen_values = true, value_parser = time::since)]
    pub(crate) since: Since,
    /// The state at that time, and the stops before it: 2h (ago), 2026-03-02 (0:00 UTC), or 2026-03-02T11:40:26Z
    /// [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time::past)]
    pub(crate) at: Option<DateTime<Utc>>,
    /// Only those with failed stops in that time, or in a crash loop; a scale-in, a deployment or StopTask is no failure
    #[arg(long)]
    pub(crate) failing: bool,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[command(flatten)]
    pub(crate) output: PlainOutput,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Reasons {
    /// Only tasks with this code, such as OutOfMemory; docs/reference.md lists all codes and causes
    #[arg(long, ignore_case = true, hide_possible_values = true, value_parser = one_of(Code::all()))]
    code: Option<Code>,
    /// Only tasks with this cause, such as AccessDenied
    #[arg(long, ignore_case = true, hide_possible_values = true, value_parser = one_of(Cause::all()))]
    cause: Option<Cause>,
    /// Only tasks on which this role can act
    #[arg(long, ignore_case = true, value_parser = one_of(Actor::all()))]
    actor: Option<Actor>,
}

impl Reasons {
    pub(crate) fn admit(&self, diagnosis: &Diagnosis) -> bool {
        self.code.is_none_or(|code| code == diagnosis.code)
            && (self.cause.is_none() || self.cause == diagnosis.cause)
            && self.actor.is_none_or(|actor| actor == diagnosis.actor)
    }
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArguments {
    /// An ECS event, or the output of `aws ecs describe-tasks`, as JSON; - reads standard input
    pub(crate) file: PathBuf,
    /// Print one JSON object a line, with ECS's own field names, and the diagnosis
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct OneTask {
    /// The task's ARN, its id, or a unique part of its id
    #[arg(value_hint = ValueHint::Other, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    /// Only in this cluster
    #[arg(long, value_name = "NAME|ARN")]
    pub(crate) cluster: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct TaskArguments {
    #[command(flatten)]
    pub(crate) task: OneTask,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) task: OneTask,
    /// The container [default: the one that the diagnosis is about, or the only one that is not a sidecar]
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// The profile of the task's account, if that is not the tables' [default: --profile]
    #[arg(long, value_name = "NAME")]
    pub(crate) task_profile: Option<String>,
    /// At most this many log events
    #[arg(long, value_name = "NUMBER", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) lines: u16,
    #[command(flatten)]
    pub(crate) output: PlainOutput,
}

#[derive(Args, Debug)]
pub(crate) struct ImagesArguments {
    /// The images of that time: 2h (ago), 2026-03-02 (0:00 UTC), or 2026-03-02T11:40:26Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time::past)]
    pub(crate) at: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[command(flatten)]
    pub(crate) output: PlainOutput,
}

#[derive(Args, Debug)]
pub(crate) struct InstancesArguments {
    /// Only instances of this cluster
    #[arg(long, value_name = "NAME|ARN")]
    pub(crate) cluster: Option<String>,
    /// Only instances of this account
    #[arg(long, value_name = "ID", value_parser = account)]
    pub(crate) account: Option<String>,
    /// Only instances whose agent has been disconnected for at least this long: 5m, 1h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) disconnected: Option<Duration>,
    /// Include deregistered instances
    #[arg(long)]
    pub(crate) inactive: bool,
    /// Include instances that ECS no longer knows
    #[arg(long)]
    pub(crate) missing: bool,
    /// Print one JSON object per line, with ECS's own field names
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Watched {
    /// The tasks that have not stopped
    Tasks,
    /// Services, with the stops of the last hour
    Services,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArguments {
    /// What to watch
    #[arg(default_value = "tasks")]
    pub(crate) what: Watched,
    /// The pause between refreshes [default: 5s, or 1m if the whole table is read each time]
    #[arg(long, value_name = "DURATION", value_parser = pause)]
    pub(crate) interval: Option<Duration>,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[arg(long, help_heading = "Output", help = SCAN)]
    pub(crate) scan: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MetricsArguments {
    /// Count stops from then on: 1h, 7d, 2026-03-02 (0:00 UTC), or 2026-03-02T11:40:26Z
    #[arg(long, value_name = "TIME", default_value = "1h", allow_hyphen_values = true, value_parser = time::since)]
    pub(crate) since: Since,
    /// Only this cluster
    #[arg(long, value_name = "NAME|ARN")]
    pub(crate) cluster: Option<String>,
    /// Only this account
    #[arg(long, value_name = "ID", value_parser = account)]
    pub(crate) account: Option<String>,
    #[arg(long, help = SCAN)]
    pub(crate) scan: bool,
}

fn pause(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) | Err(_) => Err("must be a duration such as 5s or 1m".to_owned()),
        Ok(pause) => Ok(pause),
    }
}

fn account(text: &str) -> Result<String, String> {
    if is_account_id(text) { Ok(text.to_owned()) } else { Err("must be an AWS account, 12 digits".to_owned()) }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("must be an integer of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// The names are possible values, so that shells complete them.
fn one_of<T>(all: impl Iterator<Item = T>) -> impl TypedValueParser<Value = T>
where
    T: Clone + Display + FromStr<Err: Error + Send + Sync> + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.map(|value| value.to_string())).try_map(|name| name.parse::<T>())
}
