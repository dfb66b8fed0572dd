//! Any names and links as the files of a pump request: whatever the tree takes lies below its top, and every link in it
//! ends there.

#![no_main]

use distcc::model::client_path::ClientPath;
use distcc::model::job_tree::{JobTree, Node};
use distcc::model::wire::{Entry, EntryKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let lib = ClientPath::plain(b"/lib").unwrap_or_default();
    let passages = [(&lib, &b"usr/lib"[..])];
    let mut tree = JobTree::new(passages.into_iter());
    for (number, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let at = line.iter().position(|byte| *byte == b'>');
        let (name, kind) = match at {
            Some(at) => (&line[..at], EntryKind::Link(line[at + 1..].to_vec())),
            None => (line, EntryKind::File(Vec::new())),
        };
        let entry = Entry {
            name: name.to_vec(),
            kind,
        };
        let _ = tree.add(number, &entry);
        if number % 5 == 4 {
            let _ = tree.make_folder(&lib, name);
            if let Ok(path) = ClientPath::plain(name) {
                let _ = tree.make_spot(&path);
            }
        }
    }
    let whole = |path: &ClientPath| {
        let is_part = |part: &[u8]| {
            !part.is_empty() && part != b"." && part != b".." && !part.contains(&b'/')
        };
        path.parts().all(is_part)
    };
    let seen = tree.visit(&mut |path, node| {
        assert!(whole(path) && path.depth() > 0);
        assert_eq!(tree.get(path), Some(node));
        match node {
            Node::Folder(_) | Node::File(_) | Node::Link(_) | Node::Passage(_) | Node::Spot => {
                Ok::<(), ()>(())
            }
        }
    });
    assert_eq!(seen, Ok(()));
    if let Ok(links) = tree.links() {
        assert!(links.iter().all(|(link, end)| whole(link) && whole(end)));
    }
});
