//! The manual page `vrrpd.8` and the command line have the same options and commands.

use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use vrrpd::cli::Arguments;

#[test]
fn the_man_page_has_each_option_and_command_and_no_other() {
    let page = man_page();
    let mut documented: Vec<&str> =
        paragraphs(section(&page, "COMMANDS AND OPTIONS")).map(|(heading, _)| heading).collect();
    let mut offered = headings(&command());
    documented.sort_unstable();
    offered.sort_unstable();
    assert_eq!(documented, offered);
}

#[test]
fn the_man_page_has_the_default_of_each_option() {
    let page = man_page();
    let paragraphs: Vec<_> = paragraphs(section(&page, "COMMANDS AND OPTIONS")).collect();
    for option in options(&command()).filter(|option| option.get_action().takes_values()) {
        let heading = words(option);
        let (_, text) = paragraphs.iter().find(|(head, _)| *head == heading).expect("see the test above");
        for default in option.get_default_values() {
            let default = default.to_str().expect("UTF-8");
            assert!(text.contains(&format!("default {default}")), "{heading}: default {default}");
        }
    }
}

/// The command line with what clap adds by itself.
fn command() -> Command {
    let mut command = Arguments::command();
    command.build();
    command
}

/// Each option and command as the man page heads it: `--config FILE`, `demo [--interval TIME]`.
fn headings(command: &Command) -> Vec<String> {
    let commands = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    let commands = commands.map(|sub| {
        let own = options(sub).filter(|option| option.get_long() != Some("help"));
        own.fold(sub.get_name().to_owned(), |heading, option| format!("{heading} [{}]", words(option)))
    });
    options(command).map(words).chain(commands).collect()
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_positional() && !argument.is_hide_set())
}

/// An option with the name of its value.
fn words(option: &Arg) -> String {
    let long = option.get_long().expect("each option has a long form");
    let values = option.get_value_names().filter(|_| option.get_action().takes_values()).unwrap_or_default();
    values.iter().fold(format!("--{long}"), |words, value| format!("{words} {value}"))
}

/// The man page with roff's escapes taken out.
fn man_page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/man/vrrpd.8");
    let page = std::fs::read_to_string(path).expect("the man page is in the tree");
    page.replace("\\-", "-")
}

fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!(".SH {title}\n")).expect("the man page has the section");
    rest.split(".SH ").next().expect("a split has a first part")
}

/// The heading of each tagged paragraph, and its text.
fn paragraphs(section: &str) -> impl Iterator<Item = (&str, &str)> {
    section.split(".TP\n").skip(1).map(|paragraph| {
        let (heading, text) = paragraph.split_once('\n').expect("a heading and a text");
        (heading.trim_start_matches(".B "), text)
    })
}
