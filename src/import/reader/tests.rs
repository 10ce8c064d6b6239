use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;

use super::{Format, Import, ImportOptions, Input};
use crate::error::ErrorKind;
use crate::import::{Mapping, Reject, native};
use crate::model::Record;

const CSV: &str = r#"
    format = "csv"
    [event]
    time = "{time}"
    source = "s"
    kind = "{kind}"
    subjects = ["customer:{who}"]
    attributes = "rest"
"#;

fn mapped(text: &str) -> Format {
    Mapping::parse(text).unwrap_or_else(|error| panic!("{error}")).into()
}

/// Everything that came out: records with file, line and original; rejects.
type Out = (Vec<(String, u64, Vec<u8>, Record)>, Vec<Reject>);

fn run(inputs: Vec<Input>, format: &Format, options: &ImportOptions) -> Out {
    let mut out = Out::default();
    for parsed in Import::new(inputs, format.clone(), options.clone()).unwrap() {
        let mut parsed = parsed.unwrap_or_else(|error| panic!("{error}"));
        for (i, record) in std::mem::take(&mut parsed.records).into_iter().enumerate() {
            out.0.push((parsed.file().to_string(), parsed.line(i), parsed.original(i).to_vec(), record));
        }
        out.1.append(&mut parsed.rejects);
    }
    out
}

fn bytes(bytes: &[u8]) -> Vec<Input> {
    vec![Input::reader("f", Cursor::new(bytes.to_vec()))]
}

fn small(block_bytes: usize, threads: usize) -> ImportOptions {
    ImportOptions::new().block_bytes(block_bytes).threads(threads)
}

fn rejected(rejects: &[Reject]) -> Vec<(u64, &str)> {
    rejects.iter().map(|reject| (reject.line, reject.reason.as_str())).collect()
}

#[test]
fn each_bad_line_is_refused_alone_with_line_reason_and_text() {
    let good = r#"{"time":"2026-01-01T00:00:00Z","source":"s","kind":"k"}"#;
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(3000));
    let text = [
        "\u{feff}".as_bytes(),
        good.as_bytes(),
        b"\r\n\r\n  \nnonsense\n",
        b"\xff\xfe\n",
        long.as_bytes(),
        b"\n",
        good.as_bytes(),
    ];
    for block_bytes in [1, 100, 1 << 20] {
        let (records, rejects) =
            run(bytes(&text.concat()), &Format::Native, &small(block_bytes, 2).max_line_bytes(2000));
        let lines: Vec<(u64, &[u8])> =
            records.iter().map(|(_, line, original, _)| (*line, original.as_slice())).collect();
        assert_eq!(lines, [(1, good.as_bytes()), (7, good.as_bytes())]);
        assert_eq!(
            rejected(&rejects),
            [
                (4, "expected ident at column 2"),
                (5, "not UTF-8"),
                (6, "longer than 2000 bytes; its first 1024 are kept")
            ]
        );
        assert_eq!(rejects[0].original, b"nonsense");
        assert_eq!(rejects[1].original, b"\xff\xfe");
        assert_eq!(rejects[2].original, long.as_bytes()[..1024]);
    }
}

#[test]
fn files_are_read_in_the_order_given_whatever_their_compression() {
    let line = |source: &str| format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"source\":\"{source}\",\"kind\":\"k\"}}\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.txt");
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    gzip.write_all(line("b").as_bytes()).unwrap();
    gzip.finish().unwrap();
    let inputs = vec![
        Input::reader("a", Cursor::new(line("a").repeat(3))),
        Input::path(&path),
        Input::reader("c", Cursor::new(zstd::encode_all(line("c").as_bytes(), 1).unwrap())),
        Input::reader("empty", io::empty()),
    ];
    let (records, rejects) = run(inputs, &Format::Native, &small(10, 2));
    let sources: Vec<String> = records
        .iter()
        .map(|(_, line, _, record)| match record {
            Record::Event(event) => format!("{}{line}", event.source),
            Record::Link(_) => "link".to_owned(),
        })
        .collect();
    assert_eq!(sources, ["a1", "a2", "a3", "b1", "c1"]);
    assert_eq!(rejects, []);
}

#[test]
fn rows_of_csv_keep_their_line_and_text() {
    let text = "time,kind,who,note\r\n2026-01-01T00:00:00Z,a,C1,\"two\r\nlines, \"\"quoted\"\"\"\r\n\r\n2026-01-01T00:00:00Z,b,C2\r\n2026-01-01,c,C3,\r\n2026-01-01T00:00:00Z,\"d,C4,\n2026-01-01T00:00:00Z,e,,z\n";
    for block_bytes in [1, 50, 1 << 20] {
        let (records, rejects) = run(bytes(text.as_bytes()), &mapped(CSV), &small(block_bytes, 2));
        let got: Vec<String> = records
            .iter()
            .map(|(_, line, _, record)| match record {
                Record::Event(event) => format!("{line} {} {:?} {:?}", event.kind, event.subjects, event.attributes),
                Record::Link(_) => "link".to_owned(),
            })
            .collect();
        assert_eq!(got.len(), 2, "{got:?} {rejects:?}");
        assert!(got[0].starts_with("2 a "), "{got:?}");
        assert!(got[0].contains(r#"two\r\nlines, \"quoted\""#), "{got:?}");
        assert!(got[1].starts_with("8 e []"), "{got:?}");
        assert_eq!(
            rejected(&rejects),
            [
                (5, "3 cells, but 4 columns"),
                (6, "`time`: not an RFC 3339 time with a zone: `2026-01-01`"),
                (7, "a quote is not closed")
            ]
        );
        assert_eq!(rejects[0].original, b"2026-01-01T00:00:00Z,b,C2");
        assert_eq!(records[0].2, b"2026-01-01T00:00:00Z,a,C1,\"two\r\nlines, \"\"quoted\"\"\"");
    }
}

#[test]
fn a_lone_carriage_return_is_part_of_its_cell() {
    let row = "2026-01-01T00:00:00Z\tk\tC1\tpart\r2026-01-01T00:00:00Z\talarm\tC2\tx";
    let text = format!(
        "time\tkind\twho\tnote\r\n{row}\n2026-01-01T00:00:00Z\tk\tC1\tone\rtwo\r\r\n\r\n2026-01-01T00:00:00Z\tk\tC1\tlast\r"
    );
    let quoted = text.replace('\t', ",").replace("last", "\"last\"");
    for (text, dialect) in [(text, "tsv"), (quoted, "csv")] {
        for block_bytes in [1, 40, 1 << 20] {
            let mapping = mapped(&CSV.replace("\"csv\"", &format!("\"{dialect}\"")));
            let (records, rejects) = run(bytes(text.as_bytes()), &mapping, &small(block_bytes, 2));
            assert_eq!(rejected(&rejects), [(2, "7 cells, but 4 columns")], "a row for somebody else is none");
            let notes = records.iter().map(|(_, line, _, record)| match record {
                Record::Event(event) => (*line, event.attributes[0].1.to_string()),
                Record::Link(_) => (*line, String::new()),
            });
            assert_eq!(notes.collect::<Vec<_>>(), [(3, "one\rtwo\r".to_owned()), (5, "last".to_owned())]);
        }
    }
}

#[test]
fn tables_can_lack_a_header_and_use_other_characters() {
    let text = "format = \"tsv\"\nheader = false\ncolumns = [\"time\", \"kind\", \"who\"]\n";
    let (records, rejects) = run(
        bytes(b"2026-01-01T00:00:00Z\t5\" pipe\tC1\n2026-01-01T00:00:00Z\tk\t\n"),
        &mapped(&CSV.replace("format = \"csv\"", text)),
        &small(1 << 20, 1),
    );
    assert_eq!((records.len(), rejects.len()), (2, 0));
    let semicolons = CSV.replace("format = \"csv\"", "format = \"csv\"\ndelimiter = \";\"\nquote = \"'\"");
    let (records, _) = run(bytes(b"time;kind;who\n2026-01-01T00:00:00Z;'a;b';C1"), &mapped(&semicolons), &small(1, 1));
    assert!(matches!(&records[0].3, Record::Event(event) if event.kind == "a;b"));
}

#[test]
fn a_column_that_the_mapping_reads_must_be_there() {
    let mut import = Import::new(bytes(b"time,knid,who\n"), mapped(CSV), ImportOptions::new()).unwrap();
    let error = import.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "invalid: no column `kind`, which the mapping reads, did you mean `knid`? (f)");
    assert!(import.next().is_none());
}

#[test]
fn an_error_of_an_input_comes_last_and_what_was_read_before_it_stands() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let line = b"{\"time\":\"2026-01-01T00:00:00Z\",\"source\":\"s\",\"kind\":\"k\"}\n";
            self.0 += 1;
            if self.0 > 50 {
                return Err(io::Error::other("the cable was cut"));
            }
            let count = line.len().min(buffer.len());
            buffer[..count].copy_from_slice(&line[line.len() - count..]);
            Ok(count)
        }
    }
    let mut import = Import::new(vec![Input::reader("net", Broken(0))], Format::Native, small(400, 2)).unwrap();
    let mut count = 0;
    let error = loop {
        match import.next().unwrap() {
            Ok(parsed) => count += parsed.records.len() + parsed.rejects.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(count, 50);
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.to_string(), format!("input/output: the cable was cut (behind line {count}, net)"));
    assert!(import.next().is_none());
    let mut import = Import::new(vec![Input::path("/no/such/file")], Format::Native, ImportOptions::new()).unwrap();
    assert_eq!(import.next().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_reader_that_panics_is_not_the_end_of_the_input() {
    struct Panicking;
    impl Read for Panicking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("a reader of the caller")
        }
    }
    let mut import = Import::new(vec![Input::reader("p", Panicking)], Format::Native, small(1, 1)).unwrap();
    assert_eq!(import.next().unwrap().unwrap_err().message(), "a thread of the import ended early");
    assert!(import.next().is_none());
}

#[test]
fn an_import_can_be_dropped_halfway() {
    let line = "{\"time\":\"2026-01-01T00:00:00Z\",\"source\":\"s\",\"kind\":\"k\"}\n";
    let mut import = Import::new(bytes(line.repeat(10_000).as_bytes()), Format::Native, small(100, 2)).unwrap();
    assert!(import.next().unwrap().is_ok());
    assert!(import.bytes_read() > 0);
}

fn arb_file() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        3 => native::tests::arb_record().prop_map(|record| native::write(&record).into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => Just(Vec::new()),
    ];
    let end = prop_oneof![Just(b"\n".as_slice()), Just(b"\r\n".as_slice())];
    proptest::collection::vec((line, end), 0..12)
        .prop_map(|lines| lines.into_iter().flat_map(|(line, end)| [line, end.to_vec()].concat()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_and_threads_change_nothing(file in arb_file(), block_bytes in 1..2000_usize, threads in 1..4_usize) {
        let whole = run(bytes(&file), &Format::Native, &small(1 << 20, 1));
        prop_assert_eq!(&run(bytes(&file), &Format::Native, &small(block_bytes, threads)), &whole);
        // Each original is what stands on its line.
        let lines: Vec<&[u8]> = file.split(|&byte| byte == b'\n').collect();
        for (_, line, original, _) in &whole.0 {
            let line = lines[*line as usize - 1];
            prop_assert_eq!(original.as_slice(), line.strip_suffix(b"\r").unwrap_or(line));
        }
    }

    #[test]
    fn blocks_and_threads_change_no_csv(
        rows in "(2026-01-01T00:00:00Z,[a\"]{0,3},[b\"]{0,3}(,[a\"\r\n]{0,4})?(\n|\r\n|\r)){0,12}", block_bytes in 1..300_usize, threads in 1..4_usize,
    ) {
        let file = format!("time,kind,who,x\n{rows}");
        let options = |block_bytes, threads| small(block_bytes, threads).max_line_bytes(60);
        let whole = run(bytes(file.as_bytes()), &mapped(CSV), &options(1 << 20, 1));
        prop_assert_eq!(&run(bytes(file.as_bytes()), &mapped(CSV), &options(block_bytes, threads)), &whole);
    }

    #[test]
    fn no_bytes_panic(file in proptest::collection::vec(any::<u8>(), 0..300), magic in prop_oneof![
        Just(vec![]), Just(vec![0x1f, 0x8b]), Just(vec![0x28, 0xb5, 0x2f, 0xfd]), Just(b"time,kind,who\n".to_vec()),
    ]) {
        let file = [magic, file].concat();
        let ndjson = CSV.replace("\"csv\"", "\"ndjson\"");
        for format in [Format::Native, mapped(CSV), mapped(&ndjson)] {
            for parsed in Import::new(bytes(&file), format, small(64, 2)).unwrap() {
                let _ = parsed.is_ok();
            }
        }
    }
}
