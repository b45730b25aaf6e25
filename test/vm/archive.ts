/** A cpio archive in the form that Linux unpacks as its first file system ("newc", Documentation/driver-api/early-userspace). */

export type ArchiveEntry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly bytes: Uint8Array; readonly mode?: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }

const modes = { folder: 0o040755, file: 0o100644, link: 0o120777 } as const

/**
 * Each entry: 110 characters of header (`070701` and 13 numbers of 8 hex digits), the path with a zero byte, padded to 4
 * bytes, then the contents, padded to 4 bytes. Paths are relative; folders come before what is in them.
 */
export function encodeArchive(entries: Iterable<ArchiveEntry>): Uint8Array {
  const parts: Uint8Array[] = []
  let inode = 1
  for (const entry of entries) {
    const mode = entry.kind === 'file' && entry.mode !== undefined ? 0o100000 | entry.mode : modes[entry.kind]
    parts.push(...encodeEntry({ path: entry.path, mode, inode: inode++, contents: contentsOf(entry) }))
  }
  parts.push(...encodeEntry({ path: 'TRAILER!!!', mode: 0, inode: 0, contents: new Uint8Array(0) }))
  return Buffer.concat(parts)
}

function contentsOf(entry: ArchiveEntry): Uint8Array {
  switch (entry.kind) {
    case 'folder':
      return new Uint8Array(0)
    case 'file':
      return entry.bytes
    case 'link':
      return Buffer.from(entry.target)
  }
}

function encodeEntry(entry: {
  readonly path: string
  readonly mode: number
  readonly inode: number
  readonly contents: Uint8Array
}): readonly Uint8Array[] {
  const { path, mode, inode, contents } = entry
  const name = Buffer.from(`${path}\0`)
  // inode, mode, user, group, links, time, size, 4 device numbers, length of the name, checksum (unused).
  const fields = [inode, mode, 0, 0, 1, 0, contents.length, 0, 0, 0, 0, name.length, 0]
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
  return [header, name, padding(header.length + name.length), contents, padding(contents.length)]
}

function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3)
}
