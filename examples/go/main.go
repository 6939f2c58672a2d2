// A study over gRPC with nothing but the stubs: create it, watch it, read the comparison.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	common "assay.example/client/gen/assay/common/v1"
	coordination "assay.example/client/gen/assay/coordination/v1"
	evaluation "assay.example/client/gen/assay/evaluation/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

func main() {
	server := flag.String("server", "127.0.0.1:7400", "coordinator, HOST:PORT")
	authority := flag.String("ca", "", "PEM authority of the server; empty: plaintext")
	flag.Parse()

	transport, err := transportCredentials(*authority)
	if err != nil {
		log.Fatal(err)
	}
	connection, err := grpc.NewClient(*server, grpc.WithTransportCredentials(transport))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	ctx := context.Background()
	// Never a flag: other users of the machine can read those.
	if token := os.Getenv("ASSAY_TOKEN"); token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	if err := run(ctx, coordination.NewCoordinationServiceClient(connection)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, client coordination.CoordinationServiceClient) error {
	created, err := client.CreateStudy(ctx, &coordination.CreateStudyRequest{Spec: &coordination.StudySpec{
		Name:   "from Go",
		Models: []*common.ModelRef{{Uri: "demo"}},
		Recipes: []*common.Recipe{
			{Method: &common.Recipe_Dense{Dense: &common.DenseRecipe{}}},
			{Method: &common.Recipe_Gptq{Gptq: &common.GptqRecipe{Bits: 3}}},
		},
		Dimensions: []string{"ethics"},
		Pack:       &evaluation.PackRef{Uri: "demo"},
		RowLimit:   4,
	}})
	if err != nil {
		return err
	}
	id := created.GetStudy().GetMeta().GetId()
	watch, err := client.WatchStudy(ctx, &coordination.WatchStudyRequest{Id: id})
	if err != nil {
		return err
	}
	for {
		change, err := watch.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		progress := change.GetStudy().GetMeta().GetProgress()
		fmt.Printf("%d of %d %s\n", progress.GetCompleted(), progress.GetTotal(), change.GetEvent())
	}
	report, err := client.GetReport(ctx, &coordination.GetReportRequest{StudyId: id})
	if err != nil {
		return err
	}
	for _, each := range report.GetComparisons() {
		fmt.Printf("%s %s %+.1f [%+.1f, %+.1f]\n", each.GetVariantKey(), each.GetDimension(),
			each.GetDifference(), each.GetIntervalLow(), each.GetIntervalHigh())
	}
	return nil
}

func transportCredentials(authority string) (credentials.TransportCredentials, error) {
	if authority == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", authority)
	}
	return credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}), nil
}
