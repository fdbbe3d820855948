import Catalog
import Core
import DuckDBBackend
import Features
import Foundation
import Synchronization

/// The records of a file, in the order of their event times, as JSON texts that a push takes.
package struct ReplayData: Sendable {
  package typealias Record = RecordTexts.Text

  package private(set) var records: [Record]
  /// Lines and rows without a readable event time; they are not sent.
  package private(set) var unusable: Int
  /// Identifies the file's content.
  package let digest: String

  /// What to take, and what to change of it.
  package struct Options: Sendable {
    package var format: FileFormat?
    package var limit: Int?
    package var drifts: [ReplayDrift] = []
    /// Event times are moved by one span so that the newest is this.
    package var newest: Timestamp?

    package init() {}
  }

  /// Reads a whole file into memory.
  ///
  /// Throws `.invalidArgument` where it has more records than `Limits.replayedRecords` and there is no limit.
  package init(path: String, source: SourceDefinition, _ options: Options) async throws {
    guard let format = options.format ?? FileFormat(path: path) else {
      throw PlatformError(
        .invalidArgument,
        "the name '\(path)' does not tell the file's format; end it in .csv, .parquet or .jsonl, or say --format"
      )
    }
    for drift in options.drifts {
      let type = source.column(drift.column)?.type
      guard type == .double || type == .int64 else {
        throw PlatformError(
          .invalidArgument,
          "'\(drift.column)' is no number of source '\(source.name)', so it cannot drift"
            + suggestion(
              for: drift.column,
              among: source.columns.filter { $0.type == .double || $0.type == .int64 }.map(\.name)))
      }
    }
    let found = Mutex((records: [Record](), unusable: 0))
    let bound = options.limit ?? Limits.replayedRecords
    let reader = DuckDBFileReader()
    do {
      _ = try await reader.read(
        FileRequest(
          path: path, format: format, columns: Validator.wantedColumns(of: source),
          required: format == .jsonl ? [] : [source.eventTime])
      ) { rows in
        let texts = RecordTexts(rows, source)
        let isFull = found.withLock { found in
          found.unusable += texts.unusable
          for record in texts.records where found.records.count <= bound {
            found.records.append(record)
          }
          return found.records.count > bound
        }
        if isFull { throw Enough() }
      }
    } catch is Enough {
      guard options.limit != nil else {
        throw PlatformError(
          .invalidArgument,
          "\(path) has more than \(Limits.replayedRecords) records, which is what a replay keeps in memory; say --limit, "
            + "or split the file")
      }
    }
    (records, unusable) = found.withLock { ($0.records, $0.unusable) }
    if let limit = options.limit, records.count > limit {
      records.removeLast(records.count - limit)
    }
    records.sort { ($0.time, $0.number) < ($1.time, $1.number) }
    digest = String(try await FileDigest.sha256(of: path, name: path).prefix(12))
    for drift in options.drifts { apply(drift) }
    if let newest = options.newest { redate(source, newest) }
  }

  private struct Enough: Error {}

  private mutating func apply(_ drift: ReplayDrift) {
    let from: Int =
      switch drift.start {
      case .share(let share): Int((share * Double(records.count)).rounded(.up))
      case .time(let time):
        records.firstIndex { $0.time >= time.microseconds } ?? records.count
      }
    for index in min(from, records.count)..<records.count {
      guard case .object(var members)? = try? JSON(parsing: records[index].json),
        let place = members.firstIndex(where: { $0.key == drift.column })
      else { continue }
      switch members[place].value {
      case .double(let value): members[place].value = .double(drift.changed(value))
      case .int(let value):
        // A whole number stays one, so that its column still takes it.
        let changed = drift.changed(Double(value))
        members[place].value =
          Int64(exactly: changed.rounded()).map { .int($0) } ?? .double(changed)
      default: continue
      }
      records[index].json = JSON.object(members).utf8
    }
  }

  private mutating func redate(_ source: SourceDefinition, _ newest: Timestamp) {
    guard let last = records.last?.time else { return }
    let shift = newest.microseconds - last
    for index in records.indices {
      records[index].time += shift
      guard case .object(var members)? = try? JSON(parsing: records[index].json),
        let place = members.firstIndex(where: { $0.key == source.eventTime })
      else { continue }
      members[place].value = .string(
        Timestamp(microseconds: records[index].time).description)
      records[index].json = JSON.object(members).utf8
    }
  }

  /// The definitions of the project's folder.
  package static func project(_ configuration: Configuration) throws -> ProjectDefinition {
    let folder = URL(fileURLWithPath: configuration.project).standardizedFileURL.path
    return try DefinitionFile.parse(DefinitionFile.bytes(in: folder), directory: folder)
  }

  /// A source of the project.
  package static func source(
    _ name: String, of project: ProjectDefinition
  ) throws(PlatformError) -> SourceDefinition {
    guard let source = project.source(name) else {
      throw PlatformError(
        .notFound,
        "there is no source '\(name)' in martlet.yaml"
          + suggestion(for: name, among: project.sources.map(\.name)))
    }
    return source
  }
}
