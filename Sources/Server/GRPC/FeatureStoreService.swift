import Core
import Features
import Foundation
import GRPCCore
import Metrics
import Wire

/// `martlet.v1.FeatureStore` over the platform's services.
struct FeatureStoreService: Martlet_V1_FeatureStore.SimpleServiceProtocol {
  let services: PlatformServices
  private let readTimer = Metrics.Timer(
    label: "martlet_online_read_seconds", dimensions: [("transport", "grpc")])

  private static let chunkBytes = 1 << 20

  init(services: PlatformServices) { self.services = services }

  func push(
    request: RPCAsyncSequence<Martlet_V1_PushRequest, any Error>, context: ServerContext
  ) async throws -> Martlet_V1_PushResponse {
    var response = Martlet_V1_PushResponse()
    for try await message in request {
      let receipt = try await services.push(
        source: message.source, records: [UInt8](message.records),
        client: message.clientID.isEmpty ? nil : message.clientID,
        sequence: message.sequence == 0 ? nil : message.sequence, overload: .wait)
      response.accepted += UInt64(receipt.accepted)
      response.duplicates += UInt64(receipt.duplicates)
      response.quarantined += UInt64(receipt.quarantined)
      response.erased += UInt64(receipt.erased)
      for (warning, count) in receipt.warnings {
        response.warnings[warning, default: 0] += UInt64(count)
      }
      response.reasons += receipt.reasons.prefix(100 - min(100, response.reasons.count))
    }
    return response
  }

  func uploadFile(
    request: RPCAsyncSequence<Martlet_V1_UploadFileRequest, any Error>, context: ServerContext
  ) async throws -> Martlet_V1_UploadFileResponse {
    try await services.spool.withFile { path in
      var header: Martlet_V1_FileHeader?
      var file = try SpoolWriter(path: path)
      for try await message in request {
        switch message.part {
        case .header(let found) where header == nil: header = found
        case .chunk(let bytes) where header != nil: try file.write(bytes)
        default:
          throw PlatformError(
            .invalidArgument,
            "the first message of an upload names the file, the others carry its bytes")
        }
      }
      try file.close()
      guard let header else {
        throw PlatformError(
          .invalidArgument, "the upload is empty: its first message must name the file")
      }
      let report = try await services.ingestFile(
        at: path, name: header.name, source: header.source,
        format: header.format.isEmpty ? nil : header.format, strict: header.strict)
      return Martlet_V1_UploadFileResponse(report)
    }
  }

  func getOnline(
    request: Martlet_V1_GetOnlineRequest, context: ServerContext
  ) async throws -> Martlet_V1_GetOnlineResponse {
    let start = DispatchTime.now().uptimeNanoseconds
    let answer = try await services.hydrator.hydrate(
      HydrateRequest(
        features: try FeatureNames.parse(request.features), rows: request.entities.map(requestRow)))
    var response = Martlet_V1_GetOnlineResponse()
    response.features = request.features
    response.rows = answer.vectors.map { vector in
      var wire = Martlet_V1_FeatureVector()
      wire.values = vector.values.map(\.wire)
      return wire
    }
    readTimer.recordNanoseconds(Int64(DispatchTime.now().uptimeNanoseconds - start))
    return response
  }

  func getHistory(
    request: Martlet_V1_GetHistoryRequest, response: RPCWriter<Martlet_V1_GetHistoryResponse>,
    context: ServerContext
  ) async throws {
    let call = try HistoryCall(
      features: request.features, time: request.timeColumn, mode: request.mode,
      spineFormat: request.spineFormat.isEmpty ? request.format : request.spineFormat,
      format: request.format,
      definitions: request.definitionsVersion == 0 ? nil : request.definitionsVersion)
    try await services.spool.withFile { spine in
      try request.spine.write(to: URL(fileURLWithPath: spine))
      try await services.spool.withFile { output in
        _ = try await services.history(call, spine: spine, output: output)
        try await send(fileAt: output, to: response)
      }
    }
  }

  /// A file in pieces.
  func send(
    fileAt path: String, to response: RPCWriter<Martlet_V1_GetHistoryResponse>
  ) async throws {
    guard let file = FileHandle(forReadingAtPath: path) else { return }
    while let bytes = try file.read(upToCount: Self.chunkBytes), !bytes.isEmpty {
      var piece = Martlet_V1_GetHistoryResponse()
      piece.chunk = bytes
      try await response.write(piece)
    }
  }
}

extension FeatureStoreService {
  func lineage(
    request: Martlet_V1_LineageRequest, context: ServerContext
  ) async throws -> Martlet_V1_LineageResponse {
    let direction = try LineageDirection.named(
      request.direction.isEmpty ? "both" : request.direction)
    let selection = try await services.lineage(of: request.name, direction)
    var response = Martlet_V1_LineageResponse()
    response.root = selection.root
    response.direction = selection.direction.rawValue
    response.nodes = selection.graph.nodes.map { node in
      var wire = Martlet_V1_LineageNode()
      wire.id = node.id
      wire.kind = node.kind.rawValue
      wire.name = node.name
      for attribute in node.attributes { wire.attributes[attribute.key] = attribute.value }
      return wire
    }
    response.edges = selection.graph.edges.map { edge in
      var wire = Martlet_V1_LineageEdge()
      wire.from = edge.from
      wire.to = edge.to
      wire.role = edge.role
      return wire
    }
    return response
  }
}

extension Martlet_V1_UploadFileResponse {
  init(_ report: FileReport) {
    self.init()
    rows = UInt64(report.rows)
    accepted = UInt64(report.accepted)
    duplicates = UInt64(report.duplicates)
    quarantined = UInt64(report.quarantined)
    alreadyIngested = report.alreadyIngested
    reasons = report.reasons.map { "\($0.count) × \($0.reason)" }
  }
}
