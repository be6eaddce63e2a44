//! Output on a terminal.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::fixture::{
    Fixture, ago, container_instance, fleet, missing, reading, row, split, stopped, task, time, with, without_seconds,
};

/// A process on a terminal of its own, and its output.
struct Terminal {
    child: Child,
    output: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn start(mut command: Command, columns: u16) -> Self {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(end(&pty.slave))
            .stdout(end(&pty.slave))
            .stderr(end(&pty.slave))
            .spawn()
            .unwrap();
        drop((command, pty.slave));
        let (sender, output) = channel();
        let mut master = File::from(pty.master);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // At the end of a terminal, reading fails.
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, output, text: String::new() }
    }

    /// Reads until the output has this text, or has ended.
    fn wait_for(&mut self, wanted: Option<&str>) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while wanted.is_none_or(|wanted| !self.text.contains(wanted)) {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.text.push_str(&String::from_utf8(bytes).unwrap().replace("\r\n", "\n")),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("{error}: {wanted:?} in {:?}", self.text),
            }
        }
    }

    /// Reads to the end; returns what was printed and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        self.wait_for(None);
        let code = self.child.wait().unwrap().code();
        (std::mem::take(&mut self.text), code)
    }
}

impl Drop for Terminal {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Removes `ESC [ … m`.
fn without_colors(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or("", |(_, rest)| rest))
}

async fn fixture() -> Fixture {
    let fixture = Fixture::with(true, &fleet()).await;
    fixture.put(&missing());
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_of_80_columns_is_enough() {
    let fixture = fixture().await;
    let (tasks, code) = Terminal::start(fixture.command(&["tasks", "--cluster", "other"]), 80).end();
    assert_eq!(code, Some(0));
    let expected = "\
TASK          CLUSTER  GROUP        DEFINITION  STATUS   AGE   RUNS ON
77e0d1c2b3a4  other    service:web  web:42      RUNNING  1d6h  EC2
";
    assert_eq!(without_colors(&tasks), expected);
    let (stopped, _) = Terminal::start(fixture.command(&["stopped", "--since", "3d"]), 80).end();
    let expected = "\
AGO     TASK          CLUSTER  GROUP        DEFINITION  RAN    CODE
12m3xs  09aa11bb22cc  demo     service:web  web:42      4h47m  OutOfMemory
        container \"web\" was killed for exceeding its 512 MiB of memory
2h20m   18bb22cc33dd  demo     service:web  web:42      5h39m  ScaledIn
        service \"web\" was scaled in or is deploying another version
1d15h   27cc33dd44ee  other    service:api  api:42      –      ImagePullFailed
        image \"registry/api:2.4.1\" of container \"api\" could not be pulled: not
        found
";
    assert_eq!(without_seconds(&without_colors(&stopped)), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_truncated_before_a_differing_account_is_omitted() {
    let fixture = Fixture::new(true).await;
    let address = json!({"attachments": [{"details": [{"name": "privateIPv4Address", "value": "10.0.24.54"}]}]});
    let web = with(task("demo", "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6", "web", ago(3, 51, 30)), address.clone());
    let invoices = with(task("billing", "e27a90c1d4b84f6f9d15c7e80b2a4463", "invoices", ago(50, 51, 30)), address);
    fixture.put_detail(&stopped(web, ago(1, 26, 0), json!({})));
    let elsewhere = invoices.to_string().replace("123456789012", "210987654321");
    fixture.put_detail(&serde_json::from_str(&elsewhere).unwrap());
    let (text, _) = Terminal::start(fixture.command(&["tasks", "--ip", "10.0.24.54", "--at", "2h"]), 80).end();
    let expected = "\
TASK          CLUSTER  ACCOUNT       GROUP           DEFINITION   STATUS   AGE
5f1b9c0e6d7a  demo     123456789012  service:web     web:42       RUNNING  1h51m
e27a90c1d4b8  billing  210987654321  service:invoi…  invoices:42  RUNNING  2d
";
    assert_eq!(without_colors(&text), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_terminal_is_too_narrow_and_no_line_is_wider() {
    let fixture = fixture().await;
    let long = "a-service-with-quite-a-long-name-as-people-like-to-have-them-in-production";
    let long_task = with(
        task("a-cluster-with-a-long-name-too", "e5f60718293a4b5c6d7e8f9012345678", long, ago(1, 0, 30)),
        json!({"containers": [{"name": long, "image": format!("123456789012.dkr.ecr.eu-west-1.amazonaws.com/{long}:1"),
                               "reason": "word ".repeat(60)}]}),
    );
    fixture.put_detail(&long_task);
    let arn = "arn:aws:ecs:eu-west-1:123456789012:task/x/f5f60718293a4b5c6d7e8f9012345678";
    let fields = json!({"taskArn": arn, "stoppedReason": "x".repeat(300)});
    fixture.put_detail(&stopped(long_task, ago(0, 10, 0), fields));
    for columns in [1, 80, 100, 140] {
        let commands = "services, services --since 3d, jobs --since 3d, tasks --at 30m, tasks, tasks --missing, stopped, \
                        stopped --summary, images, task e5f6, task f5f6";
        for arguments in split(commands) {
            let (text, code) = Terminal::start(fixture.command(&arguments), columns).end();
            assert_eq!(code, Some(0), "{arguments:?}: {text}");
            for line in without_colors(&text).lines().filter(|line| columns > 1 && !line.starts_with("arn:")) {
                assert!(line.chars().count() <= columns.into(), "{arguments:?} {columns}: {line:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn colors_are_for_terminals_without_no_color() {
    let fixture = fixture().await;
    let (text, _) = Terminal::start(fixture.command(&["tasks"]), 80).end();
    assert!(text.contains("\x1b[32mRUNNING\x1b[0m") && text.contains("\x1b[33mPENDING\x1b[0m"), "{text:?}");
    let mut command = fixture.command(&["tasks"]);
    command.env("NO_COLOR", "1");
    let (text, _) = Terminal::start(command, 80).end();
    assert!(text.contains("RUNNING") && !text.contains('\x1b'), "{text:?}");
    for arguments in [&["tasks"][..], &["stopped", "--summary"], &["task", "09aa"]] {
        let done = fixture.run(arguments).await;
        assert!(done.code == Some(0) && !done.stdout.contains('\x1b'), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_row_controls_the_terminal() {
    const EVIL: &str = "a\u{1b}[31mb\u{7}c\u{9b}2Jd\re\nf\u{7f}g\u{202e}h\u{2066}i\tj\u{2028}k";
    let fixture = Fixture::new(true).await;
    let evil = |id: &str| {
        with(
            task("demo", id, EVIL, ago(1, 0, 0)),
            json!({
                "startedBy": EVIL, "lastStatus": EVIL, "launchType": EVIL, "cpu": EVIL, "stoppedReason": EVIL,
                "containerInstanceArn": EVIL, "availabilityZone": EVIL,
                "containers": [{"name": EVIL, "image": EVIL, "reason": EVIL, "lastStatus": EVIL,
                                "networkInterfaces": [{"privateIpv4Address": EVIL}]}],
                "attachments": [{"details": [{"name": "subnetId", "value": EVIL}]}],
                "overrides": {"cpu": EVIL, "containerOverrides": [{"name": EVIL, "command": [EVIL],
                                                   "environment": [{"name": EVIL, "value": EVIL}]}]},
            }),
        )
    };
    fixture.put_detail(&evil("e1"));
    fixture.put_detail(&stopped(evil("e2"), ago(0, 10, 0), json!({"stopCode": EVIL})));
    fixture.put_detail(&with(evil("e4"), json!({"group": EVIL})));
    let mut broken = row(&evil(&format!("e3{EVIL}")), ago(0, 0, 0));
    broken["cpu"] = json!({"L": []});
    fixture.put(&broken);
    let instance = with(
        container_instance("demo", "c1", EVIL, true),
        json!({"status": EVIL, "attributes": [{"name": "ecs.instance-type", "value": EVIL}]}),
    );
    fixture.put(&row(&instance, ago(0, 0, 0)));
    let commands = "services, services --json, jobs, jobs --json, tasks --at 30m --json, tasks, tasks --json, stopped, \
                    stopped --json, stopped --summary, stopped --summary --json, task e1 --show-environment, \
                    task e2 --show-environment, task e, images, images --json, instances, instances --json, metrics";
    for arguments in split(commands) {
        let done = fixture.run(&arguments).await;
        for text in [&done.stdout, &done.stderr] {
            let is_safe = |character: char| {
                character == '\n' || !character.is_control() && !"\u{202e}\u{2066}\u{2028}".contains(character)
            };
            assert!(text.chars().all(is_safe), "{arguments:?} {text:?}");
        }
        let shown = format!("{}{}", done.stdout, done.stderr);
        assert!(shown.contains("\\u{1b}[31m") || shown.contains("\\u001b[31m"), "{arguments:?} {shown}");
        if arguments.contains(&"--json") {
            assert!(done.objects()[0].to_string().contains("\\u001b[31mb"), "{arguments:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_quietly() {
    let fixture = Fixture::new(true).await;
    for number in 0..300 {
        fixture.put_detail(&task("demo", &format!("{number:032}"), "web", ago(1, 0, 0)));
    }
    for arguments in [&["tasks"][..], &["tasks", "--json"], &["--help"], &["completions", "bash"]] {
        let mut child = fixture.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_highlights_changes_and_restores_the_terminal() {
    for (signal, code) in [(Signal::SIGINT, 0), (Signal::SIGQUIT, 131), (Signal::SIGTERM, 143)] {
        let fixture = fixture().await;
        let mut terminal = Terminal::start(fixture.command(&["watch", "--interval", "50ms", "--cluster", "demo"]), 80);
        terminal.wait_for(Some("3 tasks"));
        assert!(terminal.text.starts_with("\x1b[?1049h\x1b[?25l"), "{:?}", terminal.text);
        // One becomes RUNNING, one stops, and one is new.
        let [etl, web] = [2, 0].map(|at: usize| fleet().remove(at));
        fixture.put_detail(&with(etl, json!({"lastStatus": "RUNNING"})));
        terminal.wait_for(Some("1 new or changed"));
        assert!(terminal.text.contains("\x1b[1m\x1b[33mRUNNING"), "{:?}", terminal.text);
        fixture.put_detail(&stopped(web, ago(0, 0, 0), json!({})));
        terminal.wait_for(Some("1 gone: 5f1b9c0e6d7a"));
        fixture.put_detail(&task("demo", "b0000000000000000000000000000000", "web", ago(0, 0, 0)));
        terminal.wait_for(Some("\x1b[1m\x1b[32mb00000000000"));
        kill(Pid::from_raw(terminal.child.id().try_into().unwrap()), signal).unwrap();
        let (text, ended) = terminal.end();
        assert!(text.ends_with("\x1b[?25h\x1b[?1049l"), "{text:?}");
        assert_eq!(ended, Some(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_only_at_the_end_shows_progress_meanwhile() {
    let fixture = Fixture::new(true).await;
    let rows = (0..1200).map(|number| row(&task("demo", &format!("{number:032}"), "web", ago(1, 0, 0)), ago(1, 0, 0)));
    fixture.dynamodb.fill(harness::dynamodb::TASKS, rows.collect());
    let proxy = harness::proxy::Proxy::start(&fixture.dynamodb.url).await;
    // Progress is shown after half a second.
    proxy.plan(|| {
        std::thread::sleep(Duration::from_millis(80));
        None
    });
    for arguments in [&["services"][..], &["tasks", "--at", "1m"]] {
        let (text, code) = Terminal::start(reading(&proxy.url, arguments), 80).end();
        assert!(text.contains("\r1,200 rows read …\x1b[K\r\x1b[K") && code == Some(0), "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_shows_services_and_what_changes_in_them() {
    for has_index in [true, false] {
        let fixture = Fixture::with(has_index, &fleet()).await;
        let arguments = ["watch", "services", "--interval", "50ms", "--cluster", "demo"];
        let mut terminal = Terminal::start(fixture.command(&arguments), 80);
        terminal.wait_for(Some("1 service\x1b"));
        terminal.wait_for(Some("OutOfMemory 1"));
        // A task that started and stopped between two looks.
        let brief = task("demo", "a0000000000000000000000000000000", "web", ago(0, 0, 2));
        fixture.put_detail(&stopped(brief, ago(0, 0, 1), json!({"stopCode": "UserInitiated"})));
        terminal.wait_for(Some("1 new or changed"));
        fixture.put_detail(&task("demo", "b0000000000000000000000000000000", "api", ago(0, 0, 0)));
        terminal.wait_for(Some("\x1b[1m\x1b[32mapi"));
        let mut broken = row(&task("demo", "c0000000000000000000000000000000", "api", ago(0, 0, 0)), ago(0, 0, 0));
        broken["cpu"] = json!({"L": []});
        fixture.put(&broken);
        terminal.wait_for(Some("1 can't be read in full: see `ecs-state services`"));
        assert!(!terminal.text.contains("warning"), "{:?}", terminal.text);
        kill(Pid::from_raw(terminal.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        assert_eq!(terminal.end().1, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_gives_the_terminal_back_while_it_is_suspended() {
    let fixture = fixture().await;
    let mut terminal = Terminal::start(fixture.command(&["watch", "--interval", "1h"]), 80);
    terminal.wait_for(Some("4 tasks"));
    terminal.text.clear();
    let pid = Pid::from_raw(terminal.child.id().try_into().unwrap());
    kill(pid, Signal::SIGTSTP).unwrap();
    terminal.wait_for(Some("\x1b[?25h\x1b[?1049l"));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ") {
        assert!(Instant::now() < deadline, "it is not suspended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    terminal.text.clear();
    kill(pid, Signal::SIGCONT).unwrap();
    terminal.wait_for(Some("4 tasks"));
    assert!(terminal.text.starts_with("\x1b[?1049h\x1b[?25l"), "{:?}", terminal.text);
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(terminal.end().1, Some(0));
}

/// A look is a scan of four segments. The index is asked for once.
#[tokio::test(flavor = "multi_thread")]
async fn watch_asks_once_for_an_index_that_is_missing_and_says_what_its_scans_cost() {
    let fixture = Fixture::with(false, &fleet()).await;
    let proxy = harness::proxy::Proxy::start(&fixture.dynamodb.url).await;
    let mut terminal = Terminal::start(reading(&proxy.url, &["watch", "--interval", "50ms", "--cluster", "none"]), 140);
    for _ in 0..3 {
        terminal.wait_for(Some("0 tasks"));
        assert_eq!(proxy.requests() % 4, 1, "one for the index, and four a look");
        terminal.text = terminal.text.split_once("0 tasks").unwrap().1.to_owned();
    }
    terminal.wait_for(Some("Ctrl-C"));
    let title = without_colors(&terminal.text);
    assert!(title.contains("  scan: 7 rows, ") && title.contains(" read units  "), "{title:?}");
    drop(terminal);
    // Without an interval, it is longer.
    let mut terminal = Terminal::start(fixture.command(&["watch"]), 140);
    terminal.wait_for(Some("every 1m, until Ctrl-C"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_of_watch_is_wider_than_the_terminal() {
    let fixture = Fixture::new(false).await;
    let tasks: Vec<_> = (0..30).map(|id| task("demo", &format!("{id:032x}"), "web", ago(1, 0, 0))).collect();
    fixture.put_details(&tasks[..29]);
    let mut terminal = Terminal::start(fixture.command(&["watch", "--interval", "1s"]), 62);
    terminal.wait_for(Some("more below"));
    fixture.put_detail(&tasks[29]);
    for task in &tasks[..4] {
        fixture.put_detail(&stopped(task.clone(), ago(0, 0, 0), json!({})));
    }
    terminal.wait_for(Some(" gone: "));
    terminal.wait_for(Some("\x1b[J"));
    for line in terminal.text.replace("\x1b[H", "\n").lines() {
        let line = without_colors(line);
        assert!(line.chars().count() <= 62, "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_shows_an_error_and_continues() {
    let fixture = fixture().await;
    let proxy = harness::proxy::Proxy::start(&fixture.dynamodb.url).await;
    let mut terminal = Terminal::start(reading(&proxy.url, &["watch", "--interval", "50ms"]), 80);
    terminal.wait_for(Some("4 tasks"));
    proxy.plan(|| Some(harness::proxy::Fault::Refused(400, "AccessDeniedException")));
    terminal.wait_for(Some("access denied"));
    proxy.plan(|| None);
    terminal.text.clear();
    terminal.wait_for(Some("4 tasks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_does_not_count_a_longer_absence_as_a_change() {
    let fixture = Fixture::new(true).await;
    let mut gone = row(&task("demo", "f09d2c71a3b84e6f9d15c7e80b2a4463", "web", ago(1, 0, 0)), ago(1, 0, 0));
    gone["missing_since"] = json!({"S": time(ago(0, 0, 10))});
    fixture.put(&gone);
    let mut terminal = Terminal::start(fixture.command(&["watch", "--interval", "50ms", "--missing"]), 100);
    terminal.wait_for(Some("missing 10s"));
    terminal.wait_for(Some("missing 12s"));
    assert!(!terminal.text.contains("new or changed"), "{:?}", terminal.text);
}
