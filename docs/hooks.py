"""Puts pictures and pages from outside of docs/ into the site, under the addresses that links in docs/ have on it."""

from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")


def on_files(files, config):
    pictures = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("assets/**/*.png"))]
    for name in (*OUTSIDE, *pictures):
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, **_):
    """docs/ is the root of the site: links lose one `../`, and those of pages from outside lose `docs/`."""
    if page.file.src_uri in OUTSIDE:
        return markdown.replace("](docs/", "](")
    up = "../" * page.file.src_uri.count("/")
    return markdown.replace(f"]({up}../", f"]({up}")
