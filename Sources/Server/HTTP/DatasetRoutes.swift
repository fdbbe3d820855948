import Core
import Features
import Hummingbird

/// Saved training sets.
struct DatasetRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("datasets") { request, _ in
      let all = try await services.datasets.list(limit: try request.limit(default: 50))
      return JSONResponse.ok(.object(["datasets": .array(all.map(\.json))]))
    }
    router.get("datasets/:name") { _, context in
      JSONResponse.ok(try await services.datasets.dataset(context.name("name")).json)
    }
    router.post("datasets") { request, _ in try await create(request) }
    router.post("datasets/:name/verify") { _, context in
      let dataset = try await services.datasets.dataset(context.name("name"))
      return JSONResponse.ok(try await services.datasets.verify(dataset).json)
    }
    router.get("datasets/:name/file") { request, context in
      let dataset = try await services.datasets.dataset(context.name("name"))
      let format = try HistoryCall.format(request.query("format") ?? "parquet", of: "a dataset")
      return try await services.spool.withFile { path in
        try await services.datasets.export(dataset, to: path, format: format)
        return try FileResponse.make(path: path, format: format)
      }
    }
  }

  private func create(_ request: Request) async throws -> Response {
    let name = try request.requiredQuery("name")
    let asOf = try services.time(request.query("as_of"), "as_of")
    if let model = request.query("model") {
      return JSONResponse.ok(
        try await services.saveDataset(name, model: model, asOf: asOf).json)
    }
    let call = try HistoryCall(
      features: request.requiredQuery("features").split(separator: ",").map(String.init),
      time: request.query("time"), mode: request.query("mode"),
      spineFormat: request.query("spine_format"), spineName: request.query("spine_name"),
      format: nil, definitions: request.wholeQuery("definitions"))
    return try await services.spool.withFile { spine in
      try await services.spool.write(request.body, to: spine)
      return JSONResponse.ok(
        try await services.saveDataset(name, call, spine: spine, asOf: asOf).json)
    }
  }
}

extension SavedDataset {
  var json: JSON {
    func time(_ time: Timestamp?) -> JSON { time.map { .string($0.description) } ?? .null }
    return .object([
      "id": .string(id), "name": .string(name), "model": model.map { .string($0) } ?? .null,
      "features": .array(features.map { .string($0) }),
      "definitions_version": .int(definitionsVersion), "mode": .string(mode.rawValue),
      "as_of": time(asOf),
      "through": .object(
        through.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .int($0.value)) }),
      "spine": .string(spine), "time_column": .string(self.time), "rows": .int(Int64(rows)),
      "incomplete_rows": .int(Int64(incompleteRows)), "first": time(first), "last": time(last),
      "row_hash": .string(hash), "file_digest": .string(file.hex),
      "created_at": time(createdAt), "erased_rows": .int(Int64(erasedRows)),
    ])
  }
}

extension DatasetVerdict {
  fileprivate var json: JSON {
    .object([
      "id": .string(dataset.id), "reproduced": .bool(isReproduced),
      "same_file": .bool(isSameFile), "row_hash": .string(dataset.hash),
      "recomputed_hash": hash.map { .string($0) } ?? .null, "note": .string(note),
    ])
  }
}
