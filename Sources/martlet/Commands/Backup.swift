import ArgumentParser
import Core
import Foundation
import Server

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup",
    abstract: "Copy warehouse, catalog, jobs and blobs of a platform, which may run.",
    discussion: """
      The copy is of one instant between two commits and holds how far each Kafka partition was stored, so that a platform
      that is restored from it reads on from there. The online state is made anew from the warehouse.

      EXAMPLE
        martlet backup                        into backups/ of the data directory
        martlet backup monday                 the same, under that name
        martlet restore martlet-data/backups/monday --replace
      """)

  @OptionGroup var options: CommonOptions
  @Argument(help: "The backup's name (default: the time).") var name: String?

  func run() async throws {
    let time = SystemClock().now.description.prefix(19)
    let name = name ?? String(time.map { $0 == ":" ? "-" : $0 })
    let answer = try await PlatformConnection.with(options) {
      try await $0.post("/api/v1/backups", .object(["name": .string(name)]))
    }
    if options.json { return print(answer.text) }
    print(
      "\(answer["folder"]?.string ?? ""): \(Terminal.grouped(answer["files"]?.int ?? 0)) files, "
        + "\(Terminal.grouped(answer["bytes"]?.int ?? 0)) bytes")
  }
}

struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Put a backup into the data directory.",
    discussion: """
      The platform must not run. Files are compared with the backup's digests first. What was in the data directory is kept
      beside it.

      EXAMPLE
        martlet restore /mnt/backups/monday --replace
      """)

  @OptionGroup var options: CommonOptions
  @Argument(help: "The folder of the backup.") var folder: String
  @Flag(help: "Put a data directory aside that is not empty.") var replace = false

  func run() async throws {
    let (configuration, _) = try ConfigurationLoader.load(options)
    if let running = RunningPlatform.find(configuration) {
      throw PlatformError(
        .failedPrecondition,
        "process \(running.pid) runs on \(configuration.data.directory); stop it first")
    }
    let (backup, former) = try await Backup.restore(
      folder, to: configuration.data.directory, replacing: replace, at: SystemClock().now)
    if options.json {
      return print(
        JSON.object([
          "data": .string(configuration.data.directory), "files": .int(Int64(backup.files)),
          "bytes": .int(backup.bytes), "former": former.map { .string($0) } ?? .null,
        ]).text)
    }
    print("\(configuration.data.directory): \(Terminal.grouped(backup.bytes)) bytes restored")
    if let former { print("what was there is in \(former)") }
  }
}
