import Core
import Crypto
import Features
import Foundation
import Jobs

/// Runs as OpenLineage run events (openlineage.io, specification 2-0-2): JSON, and nothing that waits.
///
/// Jobs are `train.MODEL` and `ingest.SOURCE` in the namespace `martlet://PROJECT`; datasets are tables, training sets and models there.
package struct OpenLineageEvents: Sendable {
  static let producer = "urn:martlet:\(PlatformVersion.text)"
  private static let specification = "https://openlineage.io/spec"

  enum Kind: String {
    case start = "START"
    case complete = "COMPLETE"
    case fail = "FAIL"
    case abort = "ABORT"
  }

  let project: ProjectDefinition
  let definitionsVersion: Int64

  package init(_ snapshot: Snapshot) {
    project = snapshot.project
    definitionsVersion = snapshot.definitionsVersion
  }

  private var namespace: String { "martlet://\(project.name)" }

  // MARK: Training

  /// An attempt of a training job; each attempt is a run.
  package func training(_ run: JobRun, _ news: JobAttemptNews, at time: Timestamp) -> JSON {
    var facets = [facet("processing_engine", "1-1-1", "ProcessingEngineRunFacet", Self.engine)]
    var job: [JSON.Member] = [
      .init("jobId", .string(run.id)), .init("attempt", .int(Int64(run.attempt))),
      .init("reason", .string(run.reason)), .init("definitionsVersion", .int(definitionsVersion)),
    ]
    var kind = Kind.start
    var outputs: [JSON] = []
    var origin: TrainingSetOrigin?
    switch news {
    case .begun: break
    case .completed(let version):
      kind = .complete
      origin = version.trainingSet.origin
      outputs = trained(version)
      job += [
        .init("asOf", .string(version.trainingSet.asOf.description)),
        .init("trainingSetHash", .string(version.trainingSet.hash)),
        .init("modelVersion", .int(version.version)),
      ]
    case .failed(let why):
      kind = .fail
      facets.append(error(why))
    case .aborted(let why):
      kind = .abort
      facets.append(error(why))
    }
    facets.append(own("martlet_training", "MartletTrainingRunFacet", job))
    return event(
      kind, at: time, runID: Self.runID("\(run.id)#\(run.attempt)"), run: facets,
      job: "train.\(run.model)", type: "TRAINING", inputs: inputs(of: run.model, origin),
      outputs: outputs)
  }

  private func inputs(of name: String, _ origin: TrainingSetOrigin?) -> [JSON] {
    guard let model = project.model(name) else { return [] }
    let graph = drawn().graph
    let upstream = graph.closure(of: "model:\(model.name)", .upstream)
    return project.sources.filter { upstream.contains("source:\($0.name)") }.map { source in
      let ranges = (origin?.events ?? []).filter { $0.source == source.name }
      let facets =
        ranges.isEmpty
        ? []
        : [
          own(
            "martlet_events", "MartletEventsInputDatasetFacet",
            [.init("ranges", .array(ranges.map(Self.range)))])
        ]
      return dataset(
        Self.table(source), [schema(source.columns)], runFacets: ("inputFacets", facets))
    }
  }

  private static func range(_ range: TrainingSetOrigin.Events) -> JSON {
    func time(_ time: Timestamp?) -> JSON { time.map { .string($0.description) } ?? .null }
    func number(_ number: Int64?) -> JSON { number.map { .int($0) } ?? .null }
    return .object([
      "use": .string(range.use), "count": .int(range.count), "firstEvent": time(range.first),
      "lastEvent": time(range.last), "firstSequence": number(range.firstSequence),
      "lastSequence": number(range.lastSequence),
    ])
  }

  private func trained(_ version: ModelVersion) -> [JSON] {
    let columns = version.features.map { ColumnDefinition(name: $0.name, type: $0.type) }
    let rows = facet(
      "outputStatistics", "1-0-2", "OutputStatisticsOutputDatasetFacet",
      [.init("rowCount", .int(Int64(version.trainingSet.rows)))])
    return [
      dataset(
        "training_sets.\(version.model)",
        [schema(columns), versionFacet(version.trainingSet.hash), columnLineage(version)],
        runFacets: ("outputFacets", [rows])),
      dataset(
        "models.\(version.model)", [versionFacet("\(version.version)")],
        runFacets: ("outputFacets", [])),
    ]
  }

  /// Which columns of the sources each feature of the vector is made from, by the graph.
  private func columnLineage(_ version: ModelVersion) -> JSON.Member {
    let (graph, drawn) = drawn()
    let fields = version.features.compactMap { feature -> JSON.Member? in
      let id: String? =
        switch feature.origin {
        case .view(let name): drawn.feature(name)
        case .input: drawn.id(.input, "\(version.model).\(feature.name)")
        case .derived: drawn.id(.derived, "\(version.model).\(feature.name)")
        }
      guard let id else { return nil }
      let upstream = graph.closure(of: id, .upstream)
      let columns = project.sources.flatMap { source in
        source.columns.filter { upstream.contains("column:\(source.name).\($0.name)") }.map {
          JSON.object([
            "namespace": .string(namespace), "name": .string(Self.table(source)),
            "field": .string($0.name),
          ])
        }
      }
      return JSON.Member(feature.name, .object([.init("inputFields", .array(columns))]))
    }
    return facet(
      "columnLineage", "1-2-0", "ColumnLineageDatasetFacet", [.init("fields", .object(fields))])
  }

  private func drawn() -> (graph: LineageGraph, drawn: LineageBuilder.Drawn) {
    var builder = LineageBuilder()
    let drawn = builder.add(project, version: definitionsVersion)
    return (builder.graph, drawn)
  }

  // MARK: Ingest

  /// What became of a file.
  package enum IngestNews: Sendable {
    case begun
    case completed(FileReport)
    case failed(String)
    case aborted(String)
  }

  package func ingest(
    _ file: String, into source: SourceDefinition, run: UUID, _ news: IngestNews, at time: Timestamp
  ) -> JSON {
    var facets = [facet("processing_engine", "1-1-1", "ProcessingEngineRunFacet", Self.engine)]
    var statistics: [JSON.Member] = []
    var kind = Kind.start
    switch news {
    case .begun: break
    case .completed(let report):
      kind = .complete
      statistics = [
        facet(
          "outputStatistics", "1-0-2", "OutputStatisticsOutputDatasetFacet",
          [.init("rowCount", .int(Int64(report.accepted)))])
      ]
      facets.append(
        own(
          "martlet_ingest", "MartletIngestRunFacet",
          [
            .init("duplicates", .int(Int64(report.duplicates))),
            .init("quarantined", .int(Int64(report.quarantined))),
            .init("alreadyIngested", .bool(report.alreadyIngested)),
          ] + (source.transform.map { [.init("transform", .string($0.description))] } ?? [])
            + (report.transformDigest.map { [.init("transformDigest", .string($0))] } ?? [])))
    case .failed(let why):
      kind = .fail
      facets.append(error(why))
    case .aborted(let why):
      kind = .abort
      facets.append(error(why))
    }
    return event(
      kind, at: time, runID: run.uuidString.lowercased(), run: facets,
      job: "ingest.\(source.name)", type: "INGEST",
      inputs: [
        .object(["namespace": .string("file"), "name": .string(file), "facets": .object([])])
      ],
      outputs: [
        dataset(
          Self.table(source), [schema(source.columns)], runFacets: ("outputFacets", statistics))
      ])
  }

  // MARK: Parts

  private static let engine: [JSON.Member] = [
    .init("version", .string(PlatformVersion.text)), .init("name", .string("martlet")),
  ]

  private static func table(_ source: SourceDefinition) -> String { "events_\(source.name)" }

  /// The same text gives the same id, so that the end of a run finds its beginning: a UUID of version 8 from SHA-256.
  package static func runID(_ text: String) -> String {
    var bytes = Array(SHA256.hash(data: Array(text.utf8)).prefix(16))
    bytes[6] = bytes[6] & 0x0F | 0x80
    bytes[8] = bytes[8] & 0x3F | 0x80
    let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    var text = ""
    for (index, digit) in hex.enumerated() {
      if [8, 12, 16, 20].contains(index) { text += "-" }
      text.append(digit)
    }
    return text
  }

  private func event(
    _ kind: Kind, at time: Timestamp, runID: String, run: [JSON.Member], job: String, type: String,
    inputs: [JSON], outputs: [JSON]
  ) -> JSON {
    let jobType = facet(
      "jobType", "2-0-4", "JobTypeJobFacet",
      [
        .init("processingType", .string("BATCH")), .init("integration", .string("MARTLET")),
        .init("jobType", .string(type)),
      ])
    return .object([
      "eventType": .string(kind.rawValue), "eventTime": .string(time.description),
      "run": .object(["runId": .string(runID), "facets": .object(run)]),
      "job": .object([
        "namespace": .string(namespace), "name": .string(job), "facets": .object([jobType]),
      ]),
      "inputs": .array(inputs), "outputs": .array(outputs), "producer": .string(Self.producer),
      "schemaURL": .string("\(Self.specification)/2-0-2/OpenLineage.json#/$defs/RunEvent"),
    ])
  }

  private func dataset(
    _ name: String, _ facets: [JSON.Member], runFacets: (key: String, facets: [JSON.Member])
  ) -> JSON {
    .object([
      .init("namespace", .string(namespace)), .init("name", .string(name)),
      .init("facets", .object(facets)), .init(runFacets.key, .object(runFacets.facets)),
    ])
  }

  private func schema(_ columns: [ColumnDefinition]) -> JSON.Member {
    facet(
      "schema", "1-2-0", "SchemaDatasetFacet",
      [
        .init(
          "fields",
          .array(
            columns.map {
              .object(["name": .string($0.name), "type": .string($0.type.rawValue)])
            }))
      ])
  }

  private func versionFacet(_ text: String) -> JSON.Member {
    facet(
      "version", "1-0-1", "DatasetVersionDatasetFacet", [.init("datasetVersion", .string(text))])
  }

  private func error(_ message: String) -> JSON.Member {
    facet(
      "errorMessage", "1-0-1", "ErrorMessageRunFacet",
      [.init("message", .string(message)), .init("programmingLanguage", .string("Swift"))])
  }

  private func facet(
    _ key: String, _ version: String, _ name: String, _ members: [JSON.Member]
  ) -> JSON.Member {
    Self.member(key, "\(Self.specification)/facets/\(version)/\(name).json#/$defs/\(name)", members)
  }

  /// A facet of ours; the specification asks for a prefix that nobody else has.
  private func own(_ key: String, _ name: String, _ members: [JSON.Member]) -> JSON.Member {
    Self.member(key, "urn:martlet:openlineage:1#/$defs/\(name)", members)
  }

  private static func member(
    _ key: String, _ schema: String, _ members: [JSON.Member]
  ) -> JSON.Member {
    JSON.Member(
      key,
      .object(
        [.init("_producer", .string(producer)), .init("_schemaURL", .string(schema))] + members))
  }
}

/// The version of this program.
package enum PlatformVersion {
  package static let text = "0.1.0"
}
