package main

import (
	"context"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Asks for the services by server reflection, as grpcurl does, and builds their types, which checks every detail.
func reflect() {
	connection, err := grpc.NewClient("127.0.0.1:"+os.Getenv("DAPR_GRPC_PORT"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	stream, err := reflection.NewServerReflectionClient(connection).ServerReflectionInfo(context.Background())
	check(err)
	ask := func(request *reflection.ServerReflectionRequest) *reflection.ServerReflectionResponse {
		check(stream.Send(request))
		response, err := stream.Recv()
		check(err)
		return response
	}
	list := ask(&reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_ListServices{}})
	files := map[string]*descriptorpb.FileDescriptorProto{}
	names := []string{}
	for _, service := range list.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
		response := ask(&reflection.ServerReflectionRequest{
			MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service.GetName()},
		})
		for _, bytes := range response.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			check(proto.Unmarshal(bytes, file))
			files[file.GetName()] = file
		}
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range files {
		set.File = append(set.File, file)
	}
	registry, err := protodesc.NewFiles(set)
	if err != nil {
		tell(facts{"what": "files", "error": err.Error()})
		return
	}
	maps := 0
	registry.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Messages().Len() {
			fields := file.Messages().Get(i).Fields()
			for j := range fields.Len() {
				if fields.Get(j).IsMap() {
					maps++
				}
			}
		}
		return true
	})
	tell(facts{"what": "services", "names": names})
	tell(facts{"what": "files", "error": "", "maps": maps})
}
