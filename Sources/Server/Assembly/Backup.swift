import Core
import Features
import Foundation

/// A consistent copy of what a platform keeps: warehouse, catalog, jobs and blobs, with a list of the files.
///
/// The warehouse is the state of one instant between two commits, stream positions included. The catalog, the jobs and
/// the blobs are copied after it, so that whatever the warehouse and the catalog name is there. The online state is not in it:
/// a start makes it from the warehouse.
package struct Backup: Sendable {
  package static let manifest = "backup.json"
  static let warehouse = "warehouse.duckdb"
  static let catalog = "catalog.sqlite"
  static let jobs = "jobs.sqlite"
  static let blobs = "blobs"

  package var folder: String
  package var bytes: Int64
  package var files: Int

  package var json: JSON {
    .object([
      "folder": .string(folder), "files": .int(Int64(files)), "bytes": .int(bytes),
    ])
  }

  // MARK: Making one

  /// Lists the files that are there, with their digests: the last thing that is written, and what makes a folder a backup.
  static func seal(
    _ folder: String, at time: Timestamp, project: String
  ) async throws -> Backup {
    var bytes: Int64 = 0
    var members: [JSON] = []
    for name in try names(in: folder) {
      let size = try size(folder + "/" + name)
      bytes += size
      members.append(
        .object([
          "name": .string(name), "bytes": .int(size),
          "sha256": .string(try await digest(folder + "/" + name)),
        ]))
    }
    let manifest = JSON.object([
      "format": .int(1), "version": .string(PlatformVersion.text), "made_at": .string("\(time)"),
      "project": .string(project), "files": .array(members),
    ])
    try Data(manifest.utf8).write(to: URL(fileURLWithPath: folder + "/" + Self.manifest))
    return Backup(folder: folder, bytes: bytes, files: members.count)
  }

  // MARK: Putting one back

  /// Puts a backup into a data directory in place of what is there, which is kept beside it under another name.
  ///
  /// Every file is compared with its digest before anything is changed; the directory gets its name only when it is whole.
  ///
  /// - Returns: where the former data directory is now, nil where there was none.
  package static func restore(
    _ folder: String, to data: String, replacing: Bool, at time: Timestamp
  ) async throws -> (backup: Backup, former: String?) {
    let backup = try await check(folder)
    let files = FileManager.default
    var isFull = false
    if let there = try? files.contentsOfDirectory(atPath: data) { isFull = !there.isEmpty }
    guard !isFull || replacing else {
      throw PlatformError(
        .alreadyExists,
        "the data directory \(data) is not empty; say --replace to put it aside, or set another data.directory"
      )
    }
    let suffix = "\(time.microseconds)"
    let new = "\(data).restoring-\(suffix)"
    try copy(folder, to: new)
    var former: String?
    if isFull {
      let aside = "\(data).before-restore-\(suffix)"
      try files.moveItem(atPath: data, toPath: aside)
      former = aside
    } else {
      try? files.removeItem(atPath: data)
    }
    try files.moveItem(atPath: new, toPath: data)
    return (backup, former)
  }

  /// Compares the files of a backup with its list.
  package static func check(_ folder: String) async throws -> Backup {
    guard let bytes = FileManager.default.contents(atPath: folder + "/" + manifest),
      let list = try? JSON(parsing: Array(bytes)), list["format"]?.int == 1
    else {
      throw PlatformError(
        .notFound, "\(folder) is no backup: it has no readable \(manifest), which is written last")
    }
    var backup = Backup(folder: folder, bytes: 0, files: 0)
    for file in list["files"]?.array ?? [] {
      let name = file["name"]?.string ?? ""
      let path = folder + "/" + name
      let isInside =
        !name.isEmpty && !name.split(separator: "/").contains("..") && !name.hasPrefix("/")
      guard isInside, (try? await digest(path)) == file["sha256"]?.string else {
        throw PlatformError(
          .storage, "\(path) is missing or is not what the backup had; take another backup")
      }
      backup.bytes += file["bytes"]?.int ?? 0
      backup.files += 1
    }
    return backup
  }

  private static func copy(_ folder: String, to data: String) throws {
    do {
      for name in try names(in: folder) where name != manifest {
        let target = URL(fileURLWithPath: data + "/" + name)
        try FileManager.default.createDirectory(
          at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.copyItem(
          at: URL(fileURLWithPath: folder + "/" + name), to: target)
      }
    } catch {
      try? FileManager.default.removeItem(atPath: data)
      throw PlatformError(
        .storage, "the backup could not be copied to \(data); check the room on its disk",
        cause: error)
    }
  }

  // MARK: Files

  /// Every file below a folder but the list itself, by its path from there, in order.
  private static func names(in folder: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: folder).filter { name in
      var isFolder: ObjCBool = false
      let isThere = FileManager.default.fileExists(
        atPath: folder + "/" + name, isDirectory: &isFolder)
      return isThere && !isFolder.boolValue && name != manifest
    }.sorted()
  }

  private static func size(_ path: String) throws -> Int64 {
    (try FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber)?.int64Value ?? 0
  }

  private static func digest(_ path: String) async throws -> String {
    try await FileDigest.sha256(of: path, name: path)
  }
}

extension PlatformServices {
  /// Makes a backup in `backups/NAME` of the data directory, while everything goes on; commits wait while the warehouse's
  /// file is copied.
  func backUp(_ name: String) async throws -> Backup {
    let isName =
      (1...100).contains(name.utf8.count) && !name.hasPrefix(".")
      && name.utf8.allSatisfy { byte in
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
          || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
      }
    guard isName else {
      throw PlatformError(
        .invalidArgument,
        "'\(name)' is no name of a backup: up to 100 letters, digits, '-', '_' and '.', not beginning with '.'"
      )
    }
    guard let warehouse = warehouse as? any CopyableWarehouse else {
      throw PlatformError(.failedPrecondition, "this warehouse cannot be copied while it is used")
    }
    let data = configuration.data.directory
    let folder = data + "/backups/" + name
    let files = FileManager.default
    guard !files.fileExists(atPath: folder) else {
      throw PlatformError(
        .alreadyExists, "there is a backup '\(name)' already; choose another name")
    }
    do {
      try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try await warehouse.copy(to: folder + "/" + Backup.warehouse)
      try await catalog.copy(to: folder + "/" + Backup.catalog)
      try await jobs.copy(to: folder + "/" + Backup.jobs)
      let project = online.visible.current.project.name
      let now = clock.now
      try await offThePool {
        // Blobs never change and are never taken away: each is there whole, or not yet.
        if FileManager.default.fileExists(atPath: data + "/" + Backup.blobs) {
          try FileManager.default.copyItem(
            atPath: data + "/" + Backup.blobs, toPath: folder + "/" + Backup.blobs)
        }
      }
      return try await Backup.seal(folder, at: now, project: project)
    } catch {
      try? files.removeItem(atPath: folder)
      throw error
    }
  }
}

/// Runs work that blocks on a thread of its own.
private func offThePool<Result: Sendable>(
  _ work: @escaping @Sendable () throws -> Result
) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    Thread.detachNewThread { continuation.resume(with: Swift.Result { try work() }) }
  }
}
