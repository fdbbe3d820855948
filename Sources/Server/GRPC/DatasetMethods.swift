import Core
import Features
import Foundation
import GRPCCore
import Wire

extension FeatureStoreService {
  func createDataset(
    request: Martlet_V1_CreateDatasetRequest, context: ServerContext
  ) async throws -> Martlet_V1_Dataset {
    let asOf = request.hasAsOf ? try Timestamp(request.asOf) : nil
    if !request.model.isEmpty {
      return try await services.saveDataset(request.name, model: request.model, asOf: asOf).wire
    }
    let call = try HistoryCall(
      features: request.features, time: request.timeColumn, mode: request.mode,
      spineFormat: request.spineFormat, format: nil)
    return try await services.spool.withFile { spine in
      try request.spine.write(to: URL(fileURLWithPath: spine))
      return try await services.saveDataset(request.name, call, spine: spine, asOf: asOf).wire
    }
  }

  func listDatasets(
    request: Martlet_V1_ListDatasetsRequest, context: ServerContext
  ) async throws -> Martlet_V1_ListDatasetsResponse {
    let limit = request.limit == 0 ? 50 : min(Int(request.limit), 10_000)
    var response = Martlet_V1_ListDatasetsResponse()
    response.datasets = try await services.datasets.list(limit: limit).map(\.wire)
    return response
  }

  func exportDataset(
    request: Martlet_V1_ExportDatasetRequest, response: RPCWriter<Martlet_V1_GetHistoryResponse>,
    context: ServerContext
  ) async throws {
    let dataset = try await services.datasets.dataset(request.name)
    let format = try HistoryCall.format(
      request.format.isEmpty ? "parquet" : request.format, of: "a dataset")
    try await services.spool.withFile { path in
      try await services.datasets.export(dataset, to: path, format: format)
      try await send(fileAt: path, to: response)
    }
  }

  func verifyDataset(
    request: Martlet_V1_DatasetName, context: ServerContext
  ) async throws -> Martlet_V1_VerifyDatasetResponse {
    let verdict = try await services.datasets.verify(services.datasets.dataset(request.name))
    var response = Martlet_V1_VerifyDatasetResponse()
    response.id = verdict.dataset.id
    response.reproduced = verdict.isReproduced
    response.sameFile = verdict.isSameFile
    response.rowHash = verdict.dataset.hash
    response.recomputedHash = verdict.hash ?? ""
    response.note = verdict.note
    return response
  }
}

extension SavedDataset {
  fileprivate var wire: Martlet_V1_Dataset {
    var wire = Martlet_V1_Dataset()
    wire.id = id
    wire.name = name
    wire.model = model ?? ""
    wire.features = features
    wire.definitionsVersion = definitionsVersion
    wire.mode = mode.rawValue
    if let asOf { wire.asOf = asOf.wire }
    wire.through = through
    wire.spine = spine
    wire.timeColumn = time
    wire.rows = UInt64(rows)
    wire.rowHash = hash
    wire.fileDigest = file.hex
    wire.createdAt = createdAt.wire
    wire.erasedRows = UInt64(erasedRows)
    return wire
  }
}
